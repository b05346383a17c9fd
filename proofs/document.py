"""Writes tables into documents."""


def write_between(document, name, rows):
    """Replaces what is between the marks of this name, each in a line of its own."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    before, rest = document.read_text().split(begin)
    after = rest.split(end)[1]
    document.write_text(before + begin + "\n".join(rows) + "\n" + end + after)
