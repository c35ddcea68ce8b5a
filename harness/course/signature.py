"""Read the signature of a stage: ``x[N D], w[D K], b?[K], stride -> z``."""

import re
from collections.abc import Mapping

from harness.course.inputs import Input

_INPUT = re.compile(r"([^\W\d]\w*)\s*([?*]?)\s*(?:\[(.*)\])?")
_NAME = re.compile(r"[^\W\d]\w*")
_SIDE = re.compile(r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)|([^\s()]+)")


class SignatureError(ValueError):
    """A signature that cannot be read; the message says what is wrong with it."""


def read_signature(text: str) -> tuple[Mapping[str, Input], tuple[str, ...]]:
    """Return the inputs of a signature by name, and the names of the outputs.

    ``x[N D]`` is a tensor, ``x[]`` a 0-dim one, ``b?[K]`` one that may be None, ``xs*[N D]`` a
    variable number of tensors, and ``stride`` a given value. A dimension is a name, a number, or
    an expression in brackets, as in ``w[(4 * H) D]``. Raise SignatureError.
    """
    left, arrow, right = text.partition("->")
    if not arrow:
        raise SignatureError(f'"{text}" has no "->": write "inputs -> outputs", as in "z[N] -> a"')
    inputs = [_input(part) for part in _parts(left)]
    names = [each.name for each in inputs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SignatureError(f"{twice[0]} stands twice among the inputs")
    outputs = tuple(part.strip() for part in right.split(","))
    for name in outputs:
        if not _NAME.fullmatch(name):
            raise SignatureError(f'"{name}" is not a name of an output: write "-> z" or "-> h, c"')
    return {each.name: each for each in inputs}, outputs


def _parts(text: str) -> list[str]:
    """Return the inputs, which commas outside of brackets separate."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _input(text: str) -> Input:
    if not (found := _INPUT.fullmatch(text)):
        raise SignatureError(
            f'"{text}" is not an input: write "x[N D]" for a tensor and "stride" for a given value'
        )
    name, mark, inside = found.groups()
    if inside is None and mark:
        raise SignatureError(f'"{text}" has no dimensions: write "{name}{mark}[N D]"')
    dimensions = None if inside is None else read_dimensions(name, inside)
    return Input(name, dimensions, optional=mark == "?", several=mark == "*")


def read_dimensions(name: str, text: str) -> tuple[str, ...]:
    """Return the dimensions of a tensor: names, numbers, and expressions. Raise SignatureError."""
    found: list[str] = []
    end = 0
    for match in _SIDE.finditer(text):
        if text[end : match.start()].strip():
            break
        end = match.end()
        found.append(_expression(match[1]) if match[1] is not None else _side(name, match[2]))
    if text[end:].strip():
        raise SignatureError(
            f"the dimensions [{text}] of {name} cannot be read: close every bracket"
        )
    return tuple(found)


def _side(name: str, text: str) -> str:
    if not _NAME.fullmatch(text) and not re.fullmatch(r"[1-9]\d*", text):
        raise SignatureError(
            f'"{text}" is not a dimension of {name}: write a name, a number, or an expression in '
            "brackets, as in (4 * H)"
        )
    return text


def _expression(text: str) -> str:
    """Return an expression in which "4 H" is 4 * H."""
    product = re.sub(r"(?<=[\w)])\s+(?=[\w(])", " * ", text.strip())
    if not re.fullmatch(r"[\w\s+*/()-]+", product):
        raise SignatureError(f"({text}) is not an expression over dimensions")
    return product
