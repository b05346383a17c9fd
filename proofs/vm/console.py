"""Checks the server's lines in the console log given as argument, and that the times rise."""

import re
import sys

TRAIL = re.compile(
    r"sequence=(\d+) time=(\d+) capability=freestanding operation=(\w+) port=(\w+) result=(\w+)",
)
EXPECTED = [
    "there is no /proc",
    "listening on 127.0.0.1:8080",
    "listening on [::1]:3000",
    "listening on unix:/server.sock",
    "answered on 127.0.0.1:8080",
    "answered on [::1]:3000",
    "answered on unix:/server.sock",
    "removed /server.sock",
    "the self-test passed",
]
RECORDS = [
    (operation, port, "allowed")
    for port in ("8080", "3000", "none")
    for operation in ("check_bind_address", "bind_socket")
]

with open(sys.argv[1], encoding="utf-8", errors="replace") as console:
    lines = [line.rstrip("\r\n") for line in console]
printed = [line for line in lines if line in EXPECTED]
assert printed == EXPECTED, printed
records = [match.groups() for match in map(TRAIL.search, lines) if match]
assert [record[2:] for record in records] == RECORDS, records
assert [int(record[0]) for record in records] == list(range(len(RECORDS))), records
times = [int(record[1]) for record in records]
assert times == sorted(set(times)), times
# The clock counts from the start of the machine, which has just booted.
assert 0 < times[0] < times[-1] < 120 * 10**9, times
