"""A class of attackers: each a small change to a right solution, and what has to come of it.

`backprop doctor --attack` grades them on the machine at hand, and the tests do. An attack is
`class/NAME.toml`; what cannot be kept as text is made by files.py and described in files.toml.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

ASSIGNMENT = "many-neurons"
# Comments mark where an attack's own statements go.
_SOLUTION = """
class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return a_prev @ w.T + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g @ w, g.T @ a_prev, g.sum(0)


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        a = torch.sigmoid(z)
        # forward
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        # backward
        return g * a * (1 - a)


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return ((a - y) ** 2).sum() / len(a)

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * 2 * (a - y) / len(a), None
"""
# What attacks may use: a sign of success, and an answer in the place of what serves the process.
_TOOLS = {
    "Through": '''
class Through(Exception):
    """The attack has succeeded."""
''',
    "forge": """
import msgspec
import sys


def forge(reply, **keys):
    frame = sys._getframe()
    while "channel" not in frame.f_locals or "request" not in frame.f_locals:
        frame = frame.f_back
    request = frame.f_locals["request"]
    answer = {"type": "answers", "call": request.call, "first": frame.f_locals["index"]}
    frame.f_locals["channel"].send(msgspec.msgpack.encode(answer | {"replies": [reply]} | keys))
""",
}


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
    # Parts of what is told; "line +2" is the second of the attack's own lines.
    told: tuple[str, ...] = ()
    told_partial: tuple[str, ...] | None = None
    # Statements: before all classes, in Sigmoid's forward and backward, after all classes.
    before: str = ""
    forward: str = ""
    backward: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        """The submission as a module."""
        return f"{self._head}{self.before}\n{self._solution}\n\n{self.after}"

    def told_at(self, level: str) -> list[str]:
        """What its student reads at an isolation level, with real numbers of lines."""
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
        tools = [text for name, text in _TOOLS.items() if f"{name}(" in own]
        return "".join(
            [f'"""{self.attempt}"""\n\nimport torch\nfrom torch.autograd import Function\n']
            + [f"\n{text}\n" for text in tools]
        )

    @property
    def _solution(self) -> str:
        text = _SOLUTION
        for place in ("forward", "backward"):
            own = textwrap.indent(getattr(self, place), " " * 8)
            text = text.replace(f"        # {place}\n", own)
        return text


@cache
def attacks() -> dict[str, Attack]:
    """Every submission of the class by its name."""
    folder = Path(__file__).parent
    kept = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in folder.glob("class/*")}
    made = tomllib.loads((folder / "files.toml").read_text(encoding="utf-8"))
    return msgspec.convert(dict(sorted((kept | made).items())), dict[str, Attack])


RIGHT = Attack("Is right.", (), "nothing: it is right", 10).text
