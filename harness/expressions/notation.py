"""Torch expressions as mathematics: runs of characters, some raised or lowered."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from harness.course.stage import Stage

SUBSCRIPTS = "₀₁₂₃₄₅₆₇₈₉"
_ON_THE_LINE = str.maketrans(SUBSCRIPTS, "0123456789")
_RAISED = str.maketrans("0123456789.-−T", "⁰¹²³⁴⁵⁶⁷⁸⁹·⁻⁻ᵀ")
_LOWERED = str.maketrans("0123456789njk", "₀₁₂₃₄₅₆₇₈₉ₙⱼₖ")
# What runs along the dimensions of a stage, if it has no more of them.
INDICES = "njk"
SUM, PRODUCT, POWER, NAME = range(4)
# How messages speak of formulas.
BEHAVES, RIGHT = "behaves like {}.", "Right is {}."


@dataclass(frozen=True)
class Piece:
    """A run of characters; names are italic, numbers and signs upright."""

    text: str
    leans: bool = False
    place: Literal["line", "below", "above"] = "line"


Formula = tuple[Piece, ...]


def upright(text: str) -> Formula:
    """Return signs, numbers and words as they are."""
    return (Piece(text),)


def symbol(name: str, indices: str = "") -> Formula:
    """Return a name as mathematics: ``a_prev`` has "prev" and the indices as a subscript.

    ``C₀`` and ``C0`` are the same.
    """
    base, _, mark = name.translate(_ON_THE_LINE).partition("_")
    if not mark and base[:1].isalpha() and base[1:].isdigit():
        base, mark = base[0], base[1:]
    pieces = [Piece(base, leans=True)]
    if mark:
        pieces.append(Piece(mark + "," * bool(indices), place="below"))
    if indices:
        pieces.append(Piece(indices, leans=True, place="below"))
    return tuple(pieces)


def plain(formula: Formula) -> str:
    """Return the formula as one line of text: ``a_prev``, ``gᵀ``, ``z²``, ``Σₙ``."""
    said = ""
    for piece in formula:
        if piece.place == "above":
            raised = piece.text.translate(_RAISED)
            said += raised if raised != piece.text else f"^{piece.text}"
        elif piece.place == "below":
            lowered = piece.text.translate(_LOWERED)
            said += lowered if lowered != piece.text else f"_{piece.text}"
        else:
            said += piece.text
    return said


def depends_on(node: ast.AST, names: Collection[str]) -> bool:
    """Return whether an expression depends on more of the names than their shapes."""
    match node:
        case ast.Name(id=name):
            return name in names
        case ast.Attribute(attr="shape") | ast.Call(func=ast.Name("ones_like" | "len")):
            return False
    return any(depends_on(child, names) for child in ast.iter_child_nodes(node))


@lru_cache(maxsize=1024)
def as_written(stage: Stage, expression: str) -> Formula:
    """Return an expression over the stage's names as mathematics, without simplifying it.

    ⊙ is the elementwise product, and a matrix product has no sign. What has no notation in
    mathematics stays code.
    """
    output = stage.output_dimensions
    axes = {name: each.axes for name, each in stage.inputs.items()}
    axes |= {stage.output: output, stage.upstreams[0]: output}
    named = dict.fromkeys(name for name in (*output, *stage.dimensions) if name.isidentifier())
    letters = INDICES if len(named) <= len(INDICES) else named
    writer = Writer(axes, dict(zip(named, letters, strict=False)))
    return writer.set(ast.parse(expression, mode="eval").body).pieces


@dataclass(frozen=True)
class Typeset:
    """A part of a formula, how tightly its operator binds, and its dimensions."""

    pieces: Formula
    binds: int = NAME
    axes: tuple[str, ...] = ()
    is_sum: bool = False

    def within(self, binds: int) -> Formula:
        """Return it with brackets if its operator binds less than that."""
        return self.pieces if self.binds >= binds else self.between("(", ")").pieces

    def between(self, left: str, right: str) -> Typeset:
        """Return it between two signs."""
        return Typeset((Piece(left), *self.pieces, Piece(right)), NAME, self.axes)

    def added(self) -> Formula:
        """Return it for use after a sign, with brackets if it begins with another sign."""
        begins = self.pieces[0].text.startswith("−")
        return self.within(NAME) if begins else self.within(PRODUCT)


_FUNCTIONS = {"sigmoid": "σ", "log": "ln", "sqrt": "√"}
_COMPARISONS: Mapping[type[ast.cmpop], str] = MappingProxyType(
    {ast.Gt: " > ", ast.Lt: " < ", ast.GtE: " ≥ ", ast.LtE: " ≤ ", ast.NotEq: " ≠ ", ast.Eq: " = "}
)


class Writer:
    """Sets syntax trees. ``axes`` are those of names, ``indices`` the letters for them."""

    def __init__(
        self,
        axes: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
        indices: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._axes, self._indices = axes, indices

    def named(self, name: str) -> Formula:
        """Return a name as mathematics."""
        return symbol(name)

    def times(self, left: Typeset, right: Typeset) -> str:
        """Return the sign of a product."""
        return " ⊙ " if left.axes and right.axes else " · "

    def set(self, node: ast.expr) -> Typeset:
        """Return an expression as mathematics."""
        match node:
            case ast.Name(id=name):
                return Typeset(self.named(name), NAME, self._axes.get(name, ()))
            case ast.Constant(value=int() | float() as value):
                return _number(value)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.set(operand)
                return Typeset((Piece("−"), *inner.added()), PRODUCT, inner.axes)
            case ast.BinOp():
                return self._operation(node)
            case ast.Attribute(value=value, attr="T"):
                inner = self.set(value)
                raised = (*inner.within(NAME), Piece("T", place="above"))
                return Typeset(raised, NAME, inner.axes[::-1])
            case ast.Compare(left=left, ops=[operator], comparators=[right]) if (
                type(operator) in _COMPARISONS
            ):
                one, other = self.set(left), self.set(right)
                both = (*one.pieces, Piece(_COMPARISONS[type(operator)]), *other.pieces)
                return Typeset(both, NAME, max(one.axes, other.axes, key=len)).between("[", "]")
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]):
                return _applied(name, self.set(argument))
            case ast.Call(func=ast.Attribute(value=value, attr=method)):
                return self._method(node, method, self.set(value))
        return self._code(node)

    def _code(self, node: ast.expr, axes: tuple[str, ...] = ()) -> Typeset:
        return Typeset(upright(ast.unparse(node)), NAME, axes)

    def _operation(self, node: ast.BinOp) -> Typeset:
        left, right = self.set(node.left), self.set(node.right)
        axes = max(left.axes, right.axes, key=len)
        match node.op:
            case ast.Add() | ast.Sub() as added:
                sign = Piece(" + " if isinstance(added, ast.Add) else " − ")
                return Typeset((*left.pieces, sign, *right.added()), SUM, axes)
            case ast.Mult() if right.pieces == upright("1") and right.axes:
                # Ones only give a product their shape.
                return replace(left, axes=axes)
            case ast.Mult() | ast.Div() as times:
                if left.is_sum and right.axes:
                    left = left.between("(", ")")
                sign = Piece(" / " if isinstance(times, ast.Div) else self.times(left, right))
                return Typeset((*left.within(PRODUCT), sign, *right.within(POWER)), PRODUCT, axes)
            case ast.MatMult():
                pieces = (*left.within(POWER), Piece(" "), *right.within(POWER))
                return Typeset(pieces, PRODUCT, (*left.axes[:1], *right.axes[1:]))
            case ast.Pow() if isinstance(node.right, ast.Constant | ast.Name):
                raised = ast.unparse(node.right)
                if raised == "0.5":
                    return Typeset((Piece("√"), *left.within(NAME)), POWER, left.axes)
                power = Piece(raised, place="above")
                return Typeset((*left.within(NAME), power), POWER, left.axes)
        return self._code(node, axes)

    def _method(self, node: ast.Call, method: str, of: Typeset) -> Typeset:
        arguments = [ast.unparse(each) for each in (*node.args, *node.keywords)]
        match method, arguments:
            case "sum" | "mean", _ if arguments in ([], ["0"], ["1"], ["-1"]):
                return self._reduced(method, arguments, of)
            case "norm", []:
                return replace(of.between("‖", "‖"), axes=())
            case "clamp", [least, most] if "=" not in least + most:
                return of.between("clip(", f", {least}, {most})".replace("-", "−"))
            case "clamp", ["min=0"]:
                return of.between("max(", ", 0)")
            case "double" | "float", []:
                return of
        return self._code(node) if plain(of.pieces).isdigit() else _called(method, arguments, of)

    def _reduced(self, method: str, arguments: list[str], of: Typeset) -> Typeset:
        """Return a sum over the named axis, or over all; a mean divides it by their sizes."""
        axis = int(arguments[0]) if arguments else None
        if not of.axes or (axis is not None and axis >= len(of.axes)):
            return replace(_called(method, arguments, of), axes=())
        over = of.axes if axis is None else (of.axes[axis],)
        kept = tuple(each for each in of.axes if each not in over)
        indices = (Piece(self._indices.get(each, each), True, "below") for each in over)
        signs = [piece for index in indices for piece in (Piece("Σ"), index, Piece(" "))]
        pieces = (*signs, *of.within(POWER))
        if method == "mean":
            sizes = [piece for each in over for piece in (Piece(" / "), *symbol(each))]
            pieces = (*pieces, *sizes)
        return Typeset(pieces, PRODUCT, kept, is_sum=True)


def _applied(function: str, to: Typeset) -> Typeset:
    if function in ("ones_like", "zeros_like"):
        return Typeset(upright("1" if function == "ones_like" else "0"), NAME, to.axes)
    if function == "abs":
        return to.between("|", "|")
    return to.between(f"{_FUNCTIONS.get(function, function)}(", ")")


def _called(method: str, arguments: list[str], of: Typeset) -> Typeset:
    return Typeset((*of.within(NAME), Piece(f".{method}({', '.join(arguments)})")), NAME, of.axes)


def _number(value: float) -> Typeset:
    digits, _, power = f"{value:.10g}".replace("-", "−").partition("e")
    if not power:
        return Typeset(upright(digits))
    raised = (Piece("10"), Piece(power.replace("−0", "−").lstrip("+0"), place="above"))
    return Typeset(raised if digits == "1" else (Piece(f"{digits} · "), *raised), PRODUCT)
