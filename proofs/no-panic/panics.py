"""Finds every place in a program that can panic, and fails if one of them is not expected.

    panics.py PROGRAM [EXPECTED-REGEX...]

The call graph is followed backwards from the panic handler through the functions that exist to
panic. The first other function is the place. Its chain of names begins with the function that it
calls and goes on with those that are inlined there, innermost first. A place is expected if the
chain matches one of the expressions. An expression that no place matches is an error too, because
it is not needed any more.
"""

import re
import subprocess
import sys

HANDLER = "rust_begin_unwind"
# Functions that exist to panic, and the assertion of rustix that a descriptor is not -1: only its
# callers tell whether the descriptor can be -1.
PANICKING = re.compile(
    r"core::panicking::|core::(option|result)::(unwrap|expect)_failed|core::[\w:]*_fail\w*$"
    r"|OwnedFd as [\w:]*FromRawFd>::from_raw_fd$"
)


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def references(program):
    """(address, function, other) for each instruction that has the address of another function."""
    lines = run("objdump", "-d", "-C", "--no-show-raw-insn", program).splitlines()
    heads = [re.match(r"0*([0-9a-f]+) <(.*)>:$", line) for line in lines]
    names = {head[1]: head[2] for head in heads if head}
    function = None
    for line, head in zip(lines, heads):
        if head:
            function = head[2]
            continue
        address, _, instruction = line.strip().partition(":")
        for number in re.findall(r"(?:\b|0x)([0-9a-f]{6,})\b", instruction):
            other = names.get(number, function)
            if other != function:
                yield address, function, other


def places(program):
    edges = set(references(program))
    names = {name for _, *pair in edges for name in pair}
    panicking = {name for name in names if name.endswith(HANDLER)}
    before = None
    while before != panicking:
        before = set(panicking)
        callers = {name for _, name, other in edges if other in before}
        panicking |= set(filter(PANICKING.search, callers))
    return sorted(edge for edge in edges if edge[2] in panicking and edge[1] not in panicking)


def main():
    program, expressions = sys.argv[1], sys.argv[2:]
    unused, unexpected = set(expressions), []
    found = places(program)
    for address, function, other in found:
        frames = run("addr2line", "-e", program, "-i", "-f", "-C", address).splitlines()[::2]
        chain = " < ".join([other, *frames, function])
        matching = {expression for expression in expressions if re.search(expression, chain)}
        unused -= matching
        if not matching:
            unexpected.append(chain)
    for chain in unexpected:
        print(f"can panic: {chain}", file=sys.stderr)
    for expression in sorted(unused):
        print(f"expected, but nothing matches: {expression}", file=sys.stderr)
    print(f"  {len(found)} places can panic, {len(unexpected)} of them unexpected")
    sys.exit(1 if unexpected or unused else 0)


main()
