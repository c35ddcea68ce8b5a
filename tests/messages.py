"""Print what people read of the code, by room: messages, docstrings, templates and data.

`python -m tests.messages [ROOM …]`, where a room is a package such as `grading.results`.
"""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal

PROJECT = Path(__file__).resolve().parent.parent
WORDS = re.compile(r"[^\W\d_]{2,}\W*\s\W*[^\W\d_]{2,}")
Kind = Literal["message", "docstring", "comment"]
SUFFIXES = (".py", ".toml", ".html")


@dataclass(frozen=True)
class Text:
    """A text in a file, and where it begins."""

    path: Path
    line: int
    kind: Kind
    text: str

    @property
    def room(self) -> str:
        """The package it is in, one level below `harness` or `grading`."""
        return ".".join(self.path.relative_to(PROJECT).with_suffix("").parts[:2])

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(PROJECT)}:{self.line}"


def sources() -> list[Path]:
    """Return the files of `harness` and `grading` that hold text for people."""
    found = (path for name in ("harness", "grading") for path in (PROJECT / name).rglob("*"))
    return sorted(path for path in found if path.suffix in SUFFIXES)


def texts(path: Path) -> Iterator[Text]:
    """Yield the texts of a file."""
    if path.suffix == ".py":
        yield from texts_of_module(path)
        return
    line = 1
    for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
        if WORDS.search(paragraph):
            yield Text(path, line, "message", paragraph)
        line += paragraph.count("\n") + 2


def texts_of_module(path: Path) -> Iterator[Text]:
    """Yield the docstrings, the strings of two words or more, and the comments of a module."""
    with tokenize.open(path) as file:
        source = file.read()
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                docstrings.add(node.body[0].value)  # type: ignore[attr-defined]
                yield Text(path, node.body[0].lineno, "docstring", text)
    for found in _strings(tree, docstrings):
        text = written(found)
        if WORDS.search(text):
            yield Text(path, found.lineno, "message", text)
    for token in tokenize.generate_tokens(iter(source.splitlines(keepends=True)).__next__):
        if token.type == tokenize.COMMENT:
            yield Text(path, token.start[0], "comment", token.string.lstrip("# "))


def _strings(node: ast.AST, skipped: set[ast.expr]) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Yield the string literals below a node, an f-string as one."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.JoinedStr() | ast.Constant(value=str()):
                if child not in skipped:
                    yield child
            case _:
                yield from _strings(child, skipped)


def written(node: ast.Constant | ast.JoinedStr) -> str:
    """Return a literal's text, with the expressions of an f-string in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    parts = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            parts.append(f"{{{ast.unparse(part.value)}}}")
        elif isinstance(part, ast.Constant):
            parts.append(str(part.value))
    return "".join(parts)


def main(rooms: list[str]) -> None:
    """Print the messages and the first lines of the docstrings of some rooms, or of all."""
    found = [each for path in sources() for each in texts(path) if each.kind != "comment"]
    for room, inside in groupby(sorted(found, key=lambda each: each.room), lambda each: each.room):
        if rooms and room not in rooms:
            continue
        print(f"\n{room}\n")
        for each in sorted(inside, key=lambda each: (each.path, each.line)):
            shown = each.text.splitlines()[0] if each.kind == "docstring" else each.text
            print(f"{each.place}: {each.kind}: {' '.join(shown.split())}")


if __name__ == "__main__":
    main(sys.argv[1:])
