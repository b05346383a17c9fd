"""Finds every place in a program from which a panic is entered, and fails when one is not of a source that is set apart.

    panics.py PROGRAM [SET-APART-REGEX]

The call graph is walked backwards from the panic handler through core's own panic functions. The first function that is
none of those is the place; it is set apart when one of the functions inlined there matches the expression.
"""

import re
import subprocess
import sys

HANDLER = "rust_begin_unwind"
# core's functions that exist to panic.
PANICKING = re.compile(r"core::panicking::|core::(option|result)::(unwrap|expect)_failed|core::[\w:]*_fail\w*$")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def calls(program):
    """(address, caller, callee) of each direct call and jump to another function."""
    caller = None
    for line in run("objdump", "-d", "-C", "--no-show-raw-insn", program).splitlines():
        if head := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            caller = head[1]
        elif call := re.match(r"\s*([0-9a-f]+):\s+(?:call|j\w+)\s+[0-9a-f]+ <(.*?)(\+0x[0-9a-f]+)?>$", line):
            if call[2] != caller:
                yield call[1], caller, call[2]


def places(program):
    edges = list(calls(program))
    panicking = {name for _, caller, callee in edges for name in (caller, callee) if name.endswith(HANDLER)}
    while more := {caller for _, caller, callee in edges if callee in panicking and PANICKING.search(caller)} - panicking:
        panicking |= more
    return [(address, caller) for address, caller, callee in edges if callee in panicking and caller not in panicking]


def main():
    program, apart = sys.argv[1], re.compile(sys.argv[2]) if len(sys.argv) > 2 else None
    sources, reachable = set(), []
    for address, caller in places(program):
        frames = run("addr2line", "-e", program, "-i", "-f", "-C", address).splitlines()[::2] + [caller]
        match = next((m for frame in frames if apart and (m := apart.search(frame))), None)
        if match:
            sources.add(match[0])
        else:
            reachable.append(" < ".join(frames))
    print("\n".join(reachable), file=sys.stderr)
    print(f"  set apart: {', '.join(sorted(sources)) or 'nothing'}")
    sys.exit(1 if reachable else 0)


main()
