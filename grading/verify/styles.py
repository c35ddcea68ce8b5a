"""Right styles to write a Function class, whatever it computes.

A style is a text with gaps: ``«Name»``, ``«inputs»``, ``«output»``, ``«saves»`` (with its last
comma), ``«returns»`` (likewise), ``«count»`` (of the inputs), and, on a line of their own,
``«forward»`` and ``«backward»``, which keep the indentation they stand at. ``«needed»`` are the
returns, each only if it is needed; ``«each:…»`` repeats its text for each return, with ``_``.
The upstream is ``g``, and ``(ctx, g)`` has one for each output.
"""

import re
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from grading.verify.equivalents import Equivalent, is_written
from grading.verify.writing import arguments_of
from harness.course.stage import Stage


class Style(msgspec.Struct, forbid_unknown_fields=True):
    """A style: its own text, or a base in which texts are replaced, with lines around it.

    ``not_for`` names what a stage must not have: "given" values, a "buffer", "several" tensors,
    several "outputs"; or that it must not be "derived" from the solution, or a "pair" of functions.
    """

    text: str = ""
    base: str = "plain"
    replace: list[tuple[str, str]] = []
    above: str = ""
    below: str = ""
    not_for: frozenset[str] = frozenset()

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


def styles_for(stage: Stage) -> dict[str, str]:
    """Return the texts of the styles that a stage can be written in, by name."""
    found = styles() if is_written(stage) else _derived()
    has = _properties(stage)
    return {
        name: text
        for name, text in found.items()
        if not has & catalogue().style[name].not_for
        and not ("outputs" in has and re.search(r"(?<![\w.«:])(?<!\(ctx, )g(?![\w»])", text))
        and not ("several" in has and re.search("«count»|«each|«needed»", text))
    }


@cache
def _derived() -> dict[str, str]:
    """Return the styles that can be those of a class derived from the solution's."""
    base, found = {"plain": catalogue().base["derived"]}, {}
    for name, style in catalogue().style.items():
        if not style.text and all(old in base["plain"] for old, _ in style.replace):
            found[name] = style.filled(name, base) if style.base == "plain" else ""
    return {name: text for name, text in found.items() if text}


def _properties(stage: Stage) -> set[str]:
    inputs = stage.inputs.values()
    having = {
        "given": any(each.is_given for each in inputs) and is_written(stage),
        "several": any(each.several for each in inputs),
        "buffer": any(each.kind.role == "buffer" for each in inputs),
        "outputs": len(stage.outputs) > 1,
        "derived": not is_written(stage),
        "pair": stage.pair is not None,
    }
    return {name for name, has in having.items() if has}


def written(stage: Stage, solved: Equivalent, style: str) -> str:
    """Return the stage as a class, solved by an equivalent and written in the style named."""
    blocks = {"«forward»": solved.forward.strip("\n"), "«backward»": solved.backward.strip("\n")}
    lines = [
        textwrap.indent(blocks[line.strip()], line[: len(line) - len(line.lstrip())])
        if line.strip() in blocks
        else line
        for line in styles_for(stage)[style].strip("\n").splitlines()
    ]
    text = "\n".join(lines).replace("(ctx, g)", f"(ctx, {', '.join(stage.upstreams)})")
    text = re.sub(r"«each:(.*?)»", lambda match: _each(solved, match[1]), text)
    gaps = {
        "Name": stage.name,
        "name": stage.name.lower(),
        "inputs": arguments_of(stage),
        "output": ", ".join(stage.outputs),
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
        if value == "None":
            return value
        if value.startswith("solved") or " is None else " in value:
            # There is none if an optional tensor is not there, or for a target.
            return f"(lambda _: None if _ is None else {pattern})({value})"
        return re.sub(r"\b_\b", lambda _: f"({value})", pattern)

    return ", ".join(filled(value) for value in solved.returns) + ","
