"""A class of attackers: each a small change to a right solution, with the expected result.

`backprop doctor --attack` and the tests grade them. An attack is `class/NAME.toml`; what cannot be
kept as text is described in files.toml and made by files.py.
"""

import re
import textwrap
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

ASSIGNMENT = "many-neurons"
FOLDER = Path(__file__).parent
# A text, or how often it is repeated.
Part = str | tuple[str, int]


def read(file: Path) -> dict[str, Any]:
    """Return a TOML file as a dictionary."""
    return tomllib.loads(file.read_text(encoding="utf-8"))


_PARTS = read(FOLDER / "parts.toml")


class Attack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a submission attempts, what stops it, its marks, and what its student reads."""

    attempt: str
    # Those of the table in docs/security.md.
    numbers: tuple[int, ...]
    stopped_by: str
    score: float
    status: str = "graded"
    # The checks that do not pass, with their outcome.
    wrong: Mapping[str, str] = {}
    # Parts of what the student reads; "line +2" is the second of the attack's own lines.
    told: tuple[str, ...] = ()
    told_partial: tuple[str, ...] | None = None
    # Statements: before all classes, in Sigmoid's forward and backward, after all classes.
    before: str = ""
    forward: str = ""
    backward: str = ""
    after: str = ""
    # What files.py makes instead: see files.toml.
    suffix: str = ".py"
    parts: tuple[Part, ...] = ()
    cells: tuple[Part, ...] = ()
    cell: dict[str, Any] = {}
    members: Mapping[str, tuple[Part, ...]] = {}

    @property
    def text(self) -> str:
        """The submission as a module."""
        return f"{self._head}{self.before}\n{self._solution}\n\n{self.after}"

    def told_at(self, level: str) -> list[str]:
        """Return what its student reads at an isolation level, with the real line numbers."""
        told = self.told_partial if level == "partial" else None
        above = self._head if self.before else f"{self._head}\n{self._solution}\n\n"
        first = above.count("\n")
        return [
            re.sub(r"line \+(\d+)", lambda match: f"line {first + int(match[1])}", part)
            for part in (self.told if told is None else told)
        ]

    @property
    def _head(self) -> str:
        own = self.before + self.backward + self.after
        tools = [text for name, text in _PARTS["tools"].items() if f"{name}(" in own]
        return "".join(
            [f'"""{self.attempt}"""\n\nimport torch\nfrom torch.autograd import Function\n']
            + [f"\n{text}\n" for text in tools]
        )

    @property
    def _solution(self) -> str:
        text: str = _PARTS["solution"]
        for place in ("forward", "backward"):
            own = textwrap.indent(getattr(self, place), " " * 8)
            text = text.replace(f"        # {place}\n", own)
        return text


@cache
def attacks() -> dict[str, Attack]:
    """Return every submission of the class by its name."""
    kept = {path.stem: read(path) for path in FOLDER.glob("class/*")}
    made = read(FOLDER / "files.toml")
    return msgspec.convert(dict(sorted((kept | made).items())), dict[str, Attack])


RIGHT = Attack("Is right.", (), "nothing: it is right", 10).text
