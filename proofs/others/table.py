"""Runs `attempts` under each tool, and prints or writes a table.

Arguments: the directory of the programs, `sandlock`, `supervise`, and `write` to write the table.
"""

import platform
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from document import write_between

WORK, SANDLOCK, SUPERVISE = sys.argv[1:4]
ATTEMPTS = f"{WORK}/attempts"
DOCUMENT = Path(__file__).parents[2] / "docs" / "ENFORCEMENT.md"
TOOLS = {
    "nothing": [ATTEMPTS],
    "Landlock": [ATTEMPTS, "landlock"],
    "BPF of a cgroup, as `SocketBindAllow=`": [ATTEMPTS, "cgroup", f"{WORK}/cgroup"],
    "sandlock 0.9.0": [SANDLOCK, "run", "-r", "/", "--net-allow-bind", "8121", "--", ATTEMPTS],
    "`Supervisor`": [SUPERVISE, "--allow", "port 8121", "--", ATTEMPTS],
}
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def results(command):
    """The result of each attempt, by its name."""
    output = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    pairs = (line.split(": ", 1) for line in output.stdout.splitlines() if ": " in line)
    return {name: result.replace(": ", " ") for name, result in pairs}


def authbind():
    """What authbind does for a program with and without a dynamic linker: port 80 as nobody."""
    port = Path("/etc/authbind/byport/80")
    port.touch(mode=0o755)
    port.chmod(0o755)
    answers = []
    for program in ["attempts", "static"]:
        command = [*NOBODY, "authbind", f"{WORK}/{program}", "port", "80"]
        answers.append(results(command)["the port"])
    port.unlink()
    return answers


def main():
    columns = {tool: results(command) for tool, command in TOOLS.items()}
    names = list(columns["nothing"])
    rows = ["| attempt | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in names:
        cells = [columns[tool].get(name, "-").replace("listens", "**listens**") for tool in columns]
        if name == names[0]:
            cells = [cell.replace("*", "") for cell in cells]
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    dynamic, static = authbind()
    rows += [
        "",
        f"authbind 2.1.3 lets the user nobody bind port 80: a dynamic program {dynamic}; a static one: "
        f"{static}.",
        "",
        f"Linux {platform.release().split("-")[0]}, {platform.machine()}.",
    ]
    print("\n".join(rows))
    if sys.argv[4:] == ["write"]:
        write_between(DOCUMENT, "others", rows)


main()
