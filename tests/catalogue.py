"""The template catalogue of what students read: `python -m tests.catalogue` writes it.

It holds every text in a call of `tr`, and those of TOML tables that code translates.
"""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.language import LOCALE
from tests.users import PROJECT

TEMPLATE = LOCALE / "backprop.pot"
# What holds a text for students in the tables.
KEYS = ("hint", "says")
HEAD = """# What students read; a translation is locale/LANGUAGE/LC_MESSAGES/backprop.mo.
msgid ""
msgstr "Content-Type: text/plain; charset=UTF-8\\n"
"""


def template() -> str:
    """Return the catalogue: each text once, with the files that it is in."""
    places: dict[str, list[str]] = {}
    for path in sorted((PROJECT / "harness").rglob("*")):
        if path.suffix in (".py", ".toml"):
            for text in dict.fromkeys(_texts(path)):
                places.setdefault(text, []).append(path.relative_to(PROJECT).as_posix())
    entries = (
        f'#: {" ".join(paths)}\nmsgid {json.dumps(text, ensure_ascii=False)}\nmsgstr ""\n'
        for text, paths in places.items()
    )
    return "\n".join([HEAD, *entries])


def _texts(path: Path) -> Iterator[str]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".toml":
        yield from _told(tomllib.loads(text))
        return
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Call(func=ast.Name("tr"), args=[ast.Constant(value=str(told))]):
                yield told
            case ast.Call(func=ast.Name("tr"), args=[ast.Name(name)]):
                module = import_module(".".join(path.relative_to(PROJECT).with_suffix("").parts))
                if isinstance(known := getattr(module, name, None), str):
                    yield known


def _told(table: Any) -> Iterator[str]:
    if isinstance(table, list):
        table = dict(enumerate(table))
    for key, value in table.items() if isinstance(table, dict) else ():
        if key in KEYS and isinstance(value, str):
            yield value
        yield from _told(value)


if __name__ == "__main__":
    TEMPLATE.write_text(template(), encoding="utf-8")
