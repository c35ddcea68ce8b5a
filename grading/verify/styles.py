"""Right styles to write a Function class, whatever it computes.

A style is a text with gaps: ``«Name»``, ``«inputs»``, ``«output»``, ``«saves»`` (with its last
comma), ``«returns»`` (likewise), ``«count»`` (of the inputs), and, on a line of their own,
``«forward»`` and ``«backward»``, which keep the indentation they stand at. ``«needed»`` are the
returns, each only if it is needed; ``«each:…»`` repeats its text for each return, with ``_``.
"""

import re
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from grading.verify.equivalents import Equivalent
from harness.course.stage import Stage


class Style(msgspec.Struct, forbid_unknown_fields=True):
    """A style: its own text, or a base in which texts are replaced, with lines around it."""

    text: str = ""
    base: str = "plain"
    replace: list[tuple[str, str]] = []
    above: str = ""
    below: str = ""

    def filled(self, name: str, bases: Mapping[str, str]) -> str:
        """Return the text of the style. Raise ValueError if it does not fit its base."""
        text = self.text or bases[self.base]
        for old, new in self.replace:
            if old not in text:
                raise ValueError(f"{name} replaces {old!r}, which its base does not have")
            text = text.replace(old, new)
        return self.above + text + self.below


class Frame(msgspec.Struct, forbid_unknown_fields=True):
    """What stands around the classes."""

    above: str = ""
    below: str = ""


class Catalogue(msgspec.Struct, forbid_unknown_fields=True):
    """The head of every control, the styles and their bases, and what can stand around them."""

    head: str
    base: dict[str, str]
    style: dict[str, Style]
    frame: dict[str, Frame]


@cache
def catalogue() -> Catalogue:
    """Return what styles.toml holds."""
    return msgspec.toml.decode(Path(__file__).with_name("styles.toml").read_bytes(), type=Catalogue)


@cache
def styles() -> dict[str, str]:
    """Return the texts of all styles by name. Raise ValueError if one does not fit its base."""
    return {name: style.filled(name, catalogue().base) for name, style in catalogue().style.items()}


def written(stage: Stage, solved: Equivalent, style: str) -> str:
    """Return the stage as a class, solved by an equivalent and written in the style named."""
    blocks = {"«forward»": solved.forward.strip("\n"), "«backward»": solved.backward.strip("\n")}
    lines = [
        textwrap.indent(blocks[line.strip()], line[: len(line) - len(line.lstrip())])
        if line.strip() in blocks
        else line
        for line in styles()[style].strip("\n").splitlines()
    ]
    text = "\n".join(lines)
    text = re.sub(r"«each:(.*?)»", lambda match: _each(solved, match[1]), text)
    gaps = {
        "Name": stage.name,
        "name": stage.name.lower(),
        "inputs": ", ".join(stage.inputs),
        "output": stage.output,
        "saves": ", ".join(solved.saves) + ",",
        "returns": ", ".join(solved.returns) + ",",
        "needed": ", ".join(
            f"({value}) if ctx.needs_input_grad[{at}] else None"
            for at, value in enumerate(solved.returns)
        ),
        "count": str(len(stage.inputs)),
    }
    return re.sub(r"«(\w+)»", lambda match: gaps[match[1]], text) + "\n"


def _each(solved: Equivalent, pattern: str) -> str:
    def filled(value: str) -> str:
        return value if value == "None" else re.sub(r"\b_\b", lambda _: f"({value})", pattern)

    return ", ".join(filled(value) for value in solved.returns) + ","
