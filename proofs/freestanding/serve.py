"""Tests the freestanding server, whose command is given as arguments.

It serves IPv4, IPv6 and a Unix path at the same time, prints its audit trail, refuses addresses,
and ends cleanly.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile

SERVER = sys.argv[1:]
ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n"


def start(*arguments):
    pipe = subprocess.PIPE
    return subprocess.Popen([*SERVER, *arguments], stdout=pipe, stderr=pipe, text=True)


def ask(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(30)
        client.connect(address)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        answer = b""
        while piece := client.recv(4096):
            answer += piece
        assert answer == ANSWER, answer


def listening(server):
    line = server.stdout.readline()
    assert line.startswith("listening on "), line + server.stderr.read()
    return line.removeprefix("listening on ").rstrip("\n")


def serves_every_address_and_ends_cleanly(directory, end):
    path = os.path.join(directory, "server.sock")
    server = start("--allow-port", "0", "127.0.0.1:0", "[::1]:0", "unix:" + path)
    ipv4, ipv6, unix = listening(server), listening(server), listening(server)
    port4, port6 = int(ipv4.removeprefix("127.0.0.1:")), int(ipv6.removeprefix("[::1]:"))
    assert unix == "unix:" + path, unix
    # Silent clients do not stop the server from serving others. 40 are more than it can hold.
    silent = [socket.create_connection(("127.0.0.1", port4)) for _ in range(40)]
    for _ in range(3):
        ask(socket.AF_INET, ("127.0.0.1", port4))
        ask(socket.AF_INET6, ("::1", port6))
        ask(socket.AF_UNIX, path)
    server.send_signal(end)
    _, trail = server.communicate(timeout=30)
    for client in silent:
        client.close()
    assert server.returncode == 0, server.returncode
    assert not os.path.exists(path), "the socket file is still there"
    expect_trail(trail, [("0", str(port4)), ("0", str(port6)), ("none", "none")])


def expect_trail(trail, ports):
    operations = ("check_bind_address", "bind_socket")
    wanted = [expected for pair in ports for expected in zip(operations, pair)]
    before = 0
    lines = trail.splitlines()
    assert len(lines) == len(wanted), trail
    for sequence, (line, (operation, port)) in enumerate(zip(lines, wanted)):
        form = rf"sequence={sequence} time=(\d+) capability=freestanding "
        form += rf"operation={operation} port={port} result=allowed"
        match = re.fullmatch(form, line)
        assert match, (line, form)
        assert int(match[1]) >= before, trail
        before = int(match[1])


def refuses(arguments, status, *texts):
    server = start(*arguments)
    out, trail = server.communicate(timeout=30)
    assert (server.returncode, out) == (status, ""), (server.returncode, out, trail)
    for text in texts:
        assert text in trail, (text, trail)


with tempfile.TemporaryDirectory() as directory:
    serves_every_address_and_ends_cleanly(directory, signal.SIGTERM)
    serves_every_address_and_ends_cleanly(directory, signal.SIGINT)
    denied = "operation=check_bind_address port=22 result=denied"
    refuses(["127.0.0.1:22"], 1, denied, "denied by the capability")
    refuses(["unix:@name"], 1, "port=none result=denied")
    refuses(["127.0.0.1:http"], 1, "127.0.0.1:http: not a port")
    refuses(["localhost:8080"], 1, "localhost:8080: not an address")
    refuses(["/no/such/directory/x.sock"], 1, "/no/such/directory/x.sock: errno 2")
    refuses(["--allow-port", "70000", ":70000"], 1, "usage: ")
    refuses([], 1, "usage: ")
print("freestanding: serves IPv4, IPv6 and a Unix path at the same time, refuses addresses,")
print("freestanding: and ends cleanly on SIGTERM and SIGINT")
