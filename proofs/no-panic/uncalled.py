"""Fails if one of netbind's public functions is called by none of the programs.

A function of a trait on one of netbind's types counts as a public function.

    uncalled.py DOCS PROGRAM...

DOCS is rustdoc's folder of the crate. Its pages list exactly the public functions, with those that
macros and `derive` write. The programs are built without optimisation and with v0 symbol names, so
every call of a function is a call in the machine code, and its name has the type and the trait.
Only calls from the program's own functions count, because their arguments are unknown values. The
exception is `Drop::drop`, which the compiler calls.
"""

import pathlib
import re
import subprocess
import sys
from urllib.parse import unquote_plus

# An implementation or a function in it, and the link to its source.
SECTION = re.compile(
    r'<section id="(?:(impl-[^"]+)|method\.(\w+?)(?:-\d+)?)" class="[^"]*">'
    r'<a class="src[^"]*" href="([^"]*)"'
)
REDIRECT = 'http-equiv="refresh"'
IMPLEMENTATIONS_FOR_ALL_TYPES = 'id="blanket-implementations"'


def without_generics(text, keep=0):
    """Removes what is inside of angle brackets deeper than `keep` levels."""
    kept, depth = "", 0
    for character in text.replace("->", ""):
        depth -= character == ">"
        if depth < keep or (depth == keep and character not in "<>"):
            kept += character
        depth += character == "<"
    return kept


def short(text, keep=0):
    """`netbind::linux::listener::Listener<A>` becomes `Listener`. Lifetimes are removed."""
    text = re.sub(r"(\w+::)+", "", without_generics(text, keep))
    return re.sub(r"<>|'\w+ ?", "", text).strip()


def item(kind, trait, function):
    """The common form of a name in the documentation and in the symbol table."""
    if trait:
        return f"<{short(kind)} as {short(trait, 1)}>::{function}"
    return f"{short(kind)}::{function}"


def documented(docs):
    items, types = {}, {}
    for page in sorted(docs.rglob("*.html")):
        kind, _, name = page.stem.partition(".")
        text = page.read_text(encoding="utf-8").partition(IMPLEMENTATIONS_FOR_ALL_TYPES)[0]
        place = "::".join((docs.name, *page.relative_to(docs).parent.parts, name))
        if REDIRECT in text:
            continue
        if kind == "fn":
            items.setdefault(name, place)
        if kind not in ("struct", "enum", "union"):
            continue
        # A type can have two pages, but two types of one name could not be told apart.
        definition = re.search(rf'/src/{docs.name}/[^"]*', text)
        if definition and types.setdefault(name, definition[0]) != definition[0]:
            sys.exit(f"two types are named {name}: {types[name]}, {definition[0]}")
        current = None
        for implementation, function, source in SECTION.findall(text):
            if implementation:
                current = re.sub(r"-\d+$", "", unquote_plus(implementation).removeprefix("impl-"))
            elif f"/src/{docs.name}/" in source:
                trait, _, target = current.rpartition("-for-")
                items.setdefault(item(target, trait, function), place)
    return items


def called(program):
    """The functions that the program's own functions call or take the address of."""
    crate = program.stem
    own = re.compile(rf"<?{crate}::|start$")
    command = ["objdump", "-dC", "--no-show-raw-insn", program]
    code = subprocess.run(command, check=True, capture_output=True, text=True)
    lines = code.stdout.splitlines()
    heads = [re.match(r"([0-9a-f]+) <(.*)>:$", line) for line in lines]
    names = {head[1].lstrip("0"): head[2] for head in heads if head}
    functions, caller = set(), ""
    for line, head in zip(lines, heads):
        if head:
            caller = head[2]
            continue
        for address in re.findall(r"(?:\b|0x)([0-9a-f]{6,})\b", line.partition("\t")[2]):
            callee = names.get(address)
            if callee and (own.match(caller) or " as core::ops::drop::Drop>" in callee):
                functions.add(normal(callee))
    return functions


def normal(symbol):
    symbol = re.sub(r"::<.*>$", "", symbol) if not symbol.startswith("<") else symbol
    if not symbol.startswith("<"):
        return symbol.rpartition("::")[2]
    depth = 0
    for end, character in enumerate(symbol):
        depth += (character == "<") - (character == ">" and symbol[end - 1] != "-")
        if depth == 0:
            break
    inner, function = symbol[1:end], re.sub(r"::<.*$", "", symbol[end + 3 :])
    kind, _, trait = top_level_as(inner)
    return item(kind, trait, function)


def top_level_as(text):
    depth = 0
    for index, character in enumerate(text):
        depth += (character == "<") - (character == ">" and text[index - 1] != "-")
        if depth == 0 and text.startswith(" as ", index):
            return text[:index], " as ", text[index + 4 :]
    return text, "", ""


def main():
    docs, programs = pathlib.Path(sys.argv[1]), map(pathlib.Path, sys.argv[2:])
    items = documented(docs)
    functions = set().union(*map(called, programs))
    missing = [f"{name} ({place})" for name, place in items.items() if name not in functions]
    for line in missing:
        print(f"no program calls {line}", file=sys.stderr)
    print(f"{len(items) - len(missing)} of {len(items)} public functions are called")
    if len(items) < 100:
        print("fewer than 100 were found: has rustdoc changed its pages?", file=sys.stderr)
    sys.exit(1 if missing or len(items) < 100 else 0)


main()
