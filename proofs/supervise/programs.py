"""Runs programs under a supervisor, and prints or writes a table of what happened.

Arguments: the tool `netbind` or the example `supervise`, a directory for files, and `write` to write
the table.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from document import write_between

SUPERVISOR, WORK = Path(sys.argv[1]), Path(sys.argv[2])
IS_TOOL = SUPERVISOR.name == "netbind"
LEND_PORTS = "--privileged-ports" if IS_TOOL else "--lend-ports"
DOCUMENT = Path(__file__).parents[2] / "docs" / "ENFORCEMENT.md"
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
PATIENCE = 20


class Program:
    """A program, the rule that it gets, and how to run it at an address.

    `allowed` and `refused` are (port or path, words of the command). `options` are those of the
    example. `kind` is `tcp`, `udp` or `unix`.
    """

    def __init__(self, name, version, rule, allowed, refused, options=(), kind="tcp"):
        self.name, self.rule, self.options, self.kind = name, rule, list(options), kind
        self.allowed, self.refused = allowed, refused
        self.version = version if isinstance(version, str) else first_version(version)


def first_version(command):
    output = subprocess.run(command, capture_output=True, text=True)
    words = (output.stdout + output.stderr).replace("/", " ").replace("=", " ").replace(",", " ").split()
    return next(word.lstrip("vgo") for word in words if any(c.isdigit() for c in word) and "." in word)


def nginx(listen):
    """Writes the configuration of an nginx that serves at these addresses."""
    name = listen[0].replace("/", "_")
    directory = WORK / f"nginx-{name}"
    directory.mkdir(exist_ok=True)
    os.chown(directory, 65534, 65534)
    lines = "".join(f"listen {address};" for address in listen)
    config = directory / "nginx.conf"
    temporary = "".join(
        f"{kind}_temp_path {directory}/{kind};"
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    )
    config.write_text(
        f"daemon off; pid {directory}/pid; error_log stderr; events {{}}"
        f"http {{ access_log off; {temporary} server {{ {lines} return 200 hello; }} }}"
    )
    return [*NOBODY, "nginx", "-e", "stderr", "-c", str(config)]


def redis(*options):
    return ["redis-server", "--save", "", "--daemonize", "no", *options]


def programs():
    python = sys.executable
    sockets = WORK / "sockets"
    sockets.mkdir()
    unix, elsewhere = str(sockets / "redis"), str(WORK / "redis")
    go = [str(WORK / "go-server")]
    static = [str(WORK / "static")]
    return [
        Program(
            "`python3 -m http.server`", [python, "--version"], "port 8101",
            (8101, [python, "-m", "http.server", "8101"]),
            (8102, [python, "-m", "http.server", "8102"]),
        ),
        Program(
            "nginx, as nobody", ["nginx", "-v"], "port 80",
            (80, nginx(["80", "[::]:80"])), (81, nginx(["81"])), [LEND_PORTS],
        ),
        Program(
            "redis-server, TCP", ["redis-server", "--version"], "host 127.0.0.1 port 8103",
            (8103, redis("--port", "8103", "--bind", "127.0.0.1")),
            (8103, redis("--port", "8103", "--bind", "0.0.0.0")),
        ),
        Program(
            "redis-server, Unix path only", ["redis-server", "--version"], f"beneath {sockets}",
            (unix, redis("--port", "0", "--unixsocket", unix)),
            (elsewhere, redis("--port", "0", "--unixsocket", elsewhere)), kind="unix",
        ),
        Program(
            "busybox httpd", ["busybox"], "port 8105",
            (8105, ["busybox", "httpd", "-f", "-p", "127.0.0.1:8105", "-h", str(WORK)]),
            (8106, ["busybox", "httpd", "-f", "-p", "127.0.0.1:8106", "-h", str(WORK)]),
        ),
        Program(
            "socat, fork", ["socat", "-V"], "port 8107",
            (8107, ["socat", "TCP-LISTEN:8107,fork,reuseaddr", "EXEC:echo hello"]),
            (8108, ["socat", "TCP-LISTEN:8108,fork,reuseaddr", "EXEC:echo hello"]),
        ),
        Program(
            "ncat, TCP", ["ncat", "--version"], "host 127.0.0.1 port 8109",
            (8109, ["ncat", "-l", "-k", "127.0.0.1", "8109", "-e", "/bin/echo"]),
            (8110, ["ncat", "-l", "-k", "127.0.0.1", "8110", "-e", "/bin/echo"]),
        ),
        Program(
            "ncat, UDP", ["ncat", "--version"], "host 127.0.0.1 port 8111",
            (8111, ["ncat", "-l", "-u", "127.0.0.1", "8111", "-e", "/bin/cat"]),
            (8112, ["ncat", "-l", "-u", "127.0.0.1", "8112", "-e", "/bin/cat"]),
            ["--udp"], "udp",
        ),
        Program(
            "a Go server", ["go", "version"], "host 127.0.0.1 port 8113",
            (8113, [*go, "127.0.0.1:8113"]), (8114, [*go, "127.0.0.1:8114"]),
        ),
        Program(
            "a static C program", "-", "host 127.0.0.1 port 8115",
            (8115, [*static, "8115"]), (8116, [*static, "8116"]),
        ),
    ]


def connect(program, address):
    """Returns true if a client gets through."""
    family = socket.AF_UNIX if program.kind == "unix" else socket.AF_INET
    kind = socket.SOCK_DGRAM if program.kind == "udp" else socket.SOCK_STREAM
    target = address if program.kind == "unix" else ("127.0.0.1", address)
    with socket.socket(family, kind) as client:
        client.settimeout(1)
        try:
            client.connect(target)
            if program.kind == "udp":
                client.send(b"hello")
                return client.recv(9) == b"hello"
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return True
        except OSError:
            return False


def start(program, words):
    log = open(WORK / "log", "w+")
    options = ["--allow", program.rule, *program.options, "--"]
    supervisor = [SUPERVISOR, "run"] if IS_TOOL else [SUPERVISOR]
    command = subprocess.Popen(
        [*supervisor, *options, *words], stdout=log, stderr=log, cwd=WORK, start_new_session=True
    )
    return command, log


def stop(command, log):
    """Ends the program and all its processes. Returns its records, and everything it printed."""

    def has_ended():
        command.poll()
        try:
            os.killpg(command.pid, signal.SIGTERM)
        except ProcessLookupError:
            return True
        return False

    if not until(has_ended):
        os.killpg(command.pid, signal.SIGKILL)
        command.wait()
    log.seek(0)
    text = log.read()
    log.close()
    return [line for line in text.splitlines() if "operation=" in line], text


def until(condition):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def serves(program):
    address, words = program.allowed
    command, log = start(program, words)
    served = until(lambda: connect(program, address))
    records, text = stop(command, log)
    assert served, f"{program.name} does not serve at {address}:\n{text}"
    bound = [record for record in records if "operation=bind_socket" in record]
    assert bound and not any("result=denied" in record for record in records), text
    return len(bound)


def is_refused(program):
    address, words = program.refused
    command, log = start(program, words)
    # A program that stays, although its bind failed, has no listener.
    denied = until(lambda: "result=denied" in (WORK / "log").read_text())
    connected = connect(program, address)
    records, text = stop(command, log)
    assert denied and not connected, f"{program.name} is not refused:\n{text}"
    assert not any("operation=bind_socket" in record for record in records), text
    if program.kind == "unix":
        assert not Path(address).exists(), address
    return sum("result=denied" in record for record in records)


def main():
    rows = ["| program | version | rule | serves | binds | refused | denials |", "|---|---|---|---|---|---|---|"]
    for program in programs():
        bound, denied = serves(program), is_refused(program)
        allowed, refused = (
            str(address).replace(str(WORK), "…") for address in (program.allowed[0], program.refused[0])
        )
        rule = program.rule.replace(str(WORK), "…")
        rows.append(
            f"| {program.name} | {program.version} | `{rule}` | {allowed} | {bound} | {refused} | {denied} |"
        )
        print(rows[-1], flush=True)
    print(f"supervise: {len(rows) - 2} programs served and were refused under {SUPERVISOR.name}")
    if sys.argv[3:] == ["write"]:
        write_between(DOCUMENT, "programs", rows)


main()
