"""A notebook's cell as Python, by Jupyter's rules: magics, shell lines, and requests for help.

IPython is not there where students' code runs. What a magic does has no effect, but the Python that
one carries runs: ``%time x = …`` is ``x = …``. Every line stays where it was.
"""

import ast
import re
from collections.abc import Iterator
from textwrap import dedent

# Magics that run the Python that follows them, in the notebook itself.
LINES = {"time", "timeit", "prun", "memit"}
CELLS = {"time", "timeit", "capture", "prun", "memit"}
_OPTIONS = re.compile(r"(?:-[a-zA-Z]\d*(?:[ \t]+\d+)?(?:[ \t]+|$))*")
_PROMPT = re.compile(r"^[ \t]*(?:>>>|\.\.\.)[ \t]?", re.MULTILINE)
_FIRST_PROMPT = re.compile(r"^[ \t]*>>>", re.MULTILINE)
# Without any of these, a cell is Python as it stands.
_SPECIAL = re.compile(r"^[^\S\n]*(?:[%!?,;/]|>>>)|=[^\S\n]*[!%]|\?[^\S\n]*$", re.MULTILINE)
_INDENT = re.compile(r"[ \t]*")
_COMMAND = re.compile(r"[ \t]*(?=!|%\s*[a-zA-Z_])")
_RUN = re.compile(r"(?:\./)?([a-zA-Z_]\w*)(?:\.py)?")
# Pieces of Python for which what is special has to be outside of them.
_PIECE = re.compile(
    r"""
    '{3}(?:\\.|[^\\])*?(?:'{3}|\Z) | "{3}(?:\\.|[^\\])*?(?:"{3}|\Z)
    | '(?:\\.|[^\\'\n])*'? | "(?:\\.|[^\\"\n])*"?
    | \#[^\n]* | \\\n | [=!<>:+*/%&|^@-]*= | [^\S\n]+ | \w+ | .
    """,
    re.VERBOSE | re.DOTALL,
)


def plain_python(text: str, most: int = 5) -> str:
    """Return a cell as Python without anything that only IPython understands.

    ``most`` bounds how many cell magics can be one in another.
    """
    text = dedent(text)
    if not _SPECIAL.search(text):
        return text
    if _FIRST_PROMPT.search(text) and not re.search("\"{3}|'{3}", text):
        text = _PROMPT.sub("", text)
    blank = len(text) - len(text.lstrip("\n"))
    first, _, body = text[blank:].partition("\n")
    magic = re.match(r"%%(\w+)(?!\w*\?)", first)
    if magic is None or not most:
        return "".join(_lines(text))
    if magic[1] not in CELLS:
        return ""
    captured = re.search(r"\s([a-zA-Z_]\w*)\s*$", first) if magic[1] == "capture" else None
    start = f"{captured[1]} = get_ipython()" if captured else ""
    return "\n" * blank + f"{start}\n{plain_python(body, most - 1)}"


def _lines(text: str) -> Iterator[str]:
    """Yield a cell by its logical lines, with as many newlines as there were."""
    at = 0
    while at < len(text):
        first = _INDENT.match(text, at).end()  # type: ignore[union-attr]
        if text[first : first + 1] in tuple("%!?,;/"):
            kept, end = first, _continued(text, first)
            instead = _statement(_joined(text[first:end]))
        else:
            end, assigned, asked = _logical(text, first)
            command = _COMMAND.match(text, assigned) if assigned else None
            if command:
                kept, end = command.end(), _continued(text, command.end())
                instead = _value(_joined(text[kept:end]))
            else:
                kept, instead = (first, "pass") if asked else (end, "")
        yield text[at:kept] + instead + "\n" * text.count("\n", kept, end)
        at = end


def logical_lines(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each logical line of Python starts and ends, past its newline."""
    at = 0
    while at < len(text):
        end, _, _ = _logical(text, at)
        yield at, end
        at = end


def _logical(text: str, start: int) -> tuple[int, int, bool]:
    """Return the end of the logical line that starts there, past its newline.

    Return also where its first assignment's value starts, 0 if there is none, and whether it ends
    with a question mark.
    """
    depth, assigned, last, count = 0, 0, "", 0
    at = start
    while at < len(text):
        match = _PIECE.match(text, at)
        assert match is not None
        piece, at = match[0], match.end()
        if piece == "\n" and not depth:
            break
        if piece in ("(", "[", "{"):
            depth += 1
        elif piece in (")", "]", "}"):
            depth = max(depth - 1, 0)
        elif piece == "=" and not depth and not assigned:
            assigned = at
        if not piece.isspace():
            last, count = piece, count + 1
    return at, assigned, last == "?" and count > 1


def _continued(text: str, start: int) -> int:
    """Return the end of a physical line, and of those that backslashes join to it."""
    end = start
    while True:
        end = text.find("\n", end) + 1
        if not end:
            return len(text)
        if not text.endswith("\\\n", start, end):
            return end


def _joined(command: str) -> str:
    return command.rstrip("\n").replace("\\\n", " ").rstrip()


def _statement(command: str) -> str:
    """Return the Python that stands for an escaped command."""
    escape, rest = command[0], command[1:]
    name, _, arguments = rest.partition(" ")
    if escape == "%":
        return carried(name, arguments, "exec") or "pass"
    if escape in "!?" or not re.fullmatch(r"[\w.]+", name):
        return "pass"
    words = arguments.split()
    given = {",": ", ".join(map(repr, words)), ";": repr(arguments), "/": ", ".join(words)}
    return f"{name}({given[escape]})"


def _value(command: str) -> str:
    """Return the value that is assigned from an escaped command."""
    if command.startswith("!"):
        return "[]"
    name, _, arguments = command[1:].partition(" ")
    return (name == "time" and carried(name, arguments, "eval")) or "None"


def carried(name: str, arguments: str, mode: str) -> str:
    """Return the Python that a line magic runs; "" if it carries none that parses."""
    if name == "run" and (module := _RUN.fullmatch(arguments.strip())):
        return f"from {module[1]} import *"
    code = arguments[_OPTIONS.match(arguments).end() :] if name in LINES else ""  # type: ignore[union-attr]
    try:
        ast.parse(code, mode=mode)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    return code.strip()
