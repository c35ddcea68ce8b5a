"""Why Python or torch raised, in the student's own names, and a way on: the table causes.toml."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

from harness.candidate.operations import Absent, Raised
from harness.candidate.values import a
from harness.course.inputs import Sizes
from harness.course.stage import Stage
from harness.language import tr

_TENSOR = re.compile(r"(\w+) \(([\d, ]*)\)")
# The attributes whose names are looked among for one like a name that is missing.
_LIKE: Mapping[str, list[str]] = {
    "ctx": [each for each in dir(FunctionCtx) if not each.startswith("_")]
    + ["saved_tensors", "needs_input_grad"],
    "torch": [each for each in dir(torch) if not each.startswith("_")],
    # Those that end in _ change a tensor in place.
    "tensor": [each for each in dir(Tensor) if not (each.startswith("_") or each.endswith("_"))],
}
_OTHERS = {
    "ndarray": tr("numpy array"),
    **dict.fromkeys(("float64", "float32"), tr("numpy number")),
}


@dataclass(frozen=True)
class Call:
    """The call that raised, where it is known: of a stage's forward or backward, at some sizes."""

    stage: Stage | None = None
    phase: str = ""
    sizes: Sizes = field(default_factory=dict)


NOWHERE = Call()


def explanation(trouble: Raised | Absent, call: Call = NOWHERE) -> str:
    """Return why the call raised and what to do, "" if the table does not know."""
    if isinstance(trouble, Absent):
        trouble = Raised("Absent", trouble.reason)
    for cause in _table().values():
        found = _applied(cause, trouble, call.phase)
        if found is None or (near := _near(cause, found, trouble)) is None:
            continue
        quantities = call.stage.quantities if call.stage else ()
        if cause.get("missing") == "inputs" and found["missing"] not in quantities:
            continue
        told = {**found, **_of_products(found, call.sizes)}
        facts = {**_facts(trouble, call), **told, "near": near}
        if all(facts.get(name) for name in re.findall(r"{(\w+)}", cause["says"])):
            return tr(cause["says"]).format(**facts)
    return ""


def is_mixture(trouble: object) -> bool:
    """Return whether torch refused to compute with float32 and float64 at once."""
    mixed = _table()["float32-in-between"]
    return isinstance(trouble, Raised) and _applied(mixed, trouble, "") is not None


def in_place_of_a_tensor(kind: str, call: Call) -> tuple[str, str]:
    """Return an object of a type with its article, and what to do where a tensor belongs."""
    if call.stage and call.stage.pair:
        # An array that is left is not one of numbers.
        return a({"ndarray": tr("array of objects")}.get(kind, kind)), ""
    return a(_OTHERS.get(kind, kind)), explanation(Raised("Returned", kind), call)


@cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    text = resources.files("harness.causes").joinpath("causes.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _applied(cause: Mapping[str, Any], raised: Raised, phase: str) -> dict[str, str] | None:
    """Return what the cause's patterns have found, None if one of them does not fit."""
    if not re.fullmatch(cause.get("phase", ".*"), phase) or ("outside" in cause and raised.place):
        return None
    if not re.fullmatch(cause.get("kind", ".*"), raised.kind):
        return None
    names = "; ".join(
        f"{name}: {kind}" for name, kind in raised.names if name in _used(raised.code)
    )
    found: dict[str, str] = {}
    texts = {"code": raised.code, "text": raised.text, "names": names}
    for key, text in texts.items():
        pattern = cause.get(key, "")
        # What one pattern has found can stand in those after it.
        for name, value in found.items():
            pattern = pattern.replace(f"(?P={name})", re.escape(value))
        if (match := re.search(pattern, text)) is None:
            return None
        found |= {name: value for name, value in match.groupdict().items() if value}
    return found


def _of_products(found: Mapping[str, str], sizes: Sizes) -> dict[str, str]:
    """Return the shapes that torch writes as 5x7, with the names of dimensions."""
    return {
        name: _named(found[name].split("x"), sizes) for name in ("shape", "other") if name in found
    }


def _used(code: str) -> set[str]:
    return set(re.findall(r"[^\W\d]\w*", code))


def _near(cause: Mapping[str, Any], found: Mapping[str, str], raised: Raised) -> str | None:
    """Return the known name that is most like the missing one; None if the cause needs one."""
    if "near" not in cause:
        return ""
    known = _LIKE.get(cause["near"]) or [name for name, _ in raised.names]
    return next(iter(get_close_matches(found["missing"], known, n=1, cutoff=0.65)), None)


def _facts(raised: Raised, call: Call) -> dict[str, str]:
    """Return what ``says`` may use besides what the patterns have found."""
    shapes = " and ".join(_shapes(raised, call.sizes))
    axes = re.search(r"range of \[-(\d+),", raised.text)
    return {
        **_names(raised, call),
        "shapes": shapes,
        "last": str(int(axes[1]) - 1) if axes else "",
        **{kind: _listed(raised, kind) for kind in ("float32", "float64")},
    }


def _names(raised: Raised, call: Call) -> dict[str, str]:
    """Return how torch calls the function, and names of its upstream and of an input."""
    if call.stage is None:
        return {"g": "x", "input": "x", "call": ""}
    given = call.stage.inputs if call.phase == "forward" else call.stage.upstreams
    own = [name for name, _ in raised.names]
    in_backward = own[1:] and raised.names[0][1].endswith("Backward") and call.phase == "backward"
    return {
        "g": own[1] if in_backward else call.stage.upstreams[0],
        "input": call.stage.differentiable[0],
        "call": "" if call.stage.pair else f"{call.phase}({', '.join(['ctx', *given])})",
    }


def _listed(raised: Raised, dtype: str) -> str:
    """Return the tensors of a dtype in the part of the line that raised."""
    used = _used(raised.part)
    return " and ".join(
        name for name, kind in raised.names if kind.startswith(f"{dtype} ") and name in used
    )


def _shapes(raised: Raised, sizes: Sizes) -> Iterator[str]:
    """Yield "g is (N, K)" for each tensor, or transposed one, in the part that raised."""
    types = {name: match for name, kind in raised.names if (match := _TENSOR.fullmatch(kind))}
    try:
        tree = ast.parse(raised.part.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    told: set[str] = set()
    for node in _operands(tree):
        inner, turned = _turned(node)
        if isinstance(inner, ast.Name) and inner.id in types and ast.unparse(node) not in told:
            told.add(ast.unparse(node))
            shape = [each for each in types[inner.id][2].replace(" ", "").split(",") if each]
            yield f"{ast.unparse(node)} is {_named(shape[::-1] if turned else shape, sizes)}"


def _operands(node: ast.expr) -> Iterator[ast.expr]:
    """Yield what an operation or a call works on, inner operations included."""
    match node:
        case ast.BinOp(left=left, right=right):
            yield from (*_operands(left), *_operands(right))
        case ast.Call(func=ast.Attribute(value=value), args=args) if not _turned(node)[1]:
            for each in (value, *args):
                yield from _operands(each)
        case ast.Call(args=args) if not _turned(node)[1]:
            for each in args:
                yield from _operands(each)
        case ast.UnaryOp(operand=operand):
            yield from _operands(operand)
        case _:
            yield node


def _turned(node: ast.expr) -> tuple[ast.expr, bool]:
    """Return what is transposed, and whether something is."""
    match node:
        case ast.Attribute(value=inner, attr="T" | "mT"):
            return inner, True
        case ast.Call(func=ast.Attribute(value=inner, attr="t"), args=[]):
            return inner, True
    return node, False


def _named(shape: list[str], sizes: Sizes) -> str:
    """Return a shape with the names of its dimensions, where a size has one name only."""
    lengths = {name: str(size) for name, size in sizes.items() if name.isidentifier()}
    every = list(lengths.values())
    names = {size: name for name, size in lengths.items() if every.count(size) == 1 and size != "1"}
    inside = ", ".join(names.get(size, size) for size in shape)
    return f"({inside},)" if len(shape) == 1 else f"({inside})" if shape else tr("a single number")
