"""Two slips at once: pairs of edits of a true gradient, found by the values that each has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, combinations, islice, permutations
from typing import Any

import numpy as np

from harness.course.stage import Stage
from harness.expressions.data import data
from harness.expressions.rows import Rows
from harness.expressions.steps import Array, Step, values_after
from harness.expressions.variants import written_out
from harness.formulas.known import NamedFormula, hint_for, known_formulas, slug
from harness.formulas.point import Point

# How many pairs are tried at every sample.
MOST = 40
# The tolerance for values of two edits together, relative to the largest.
SAME = 1e-8

STRUCTURE, SIGN, FACTOR = range(3)


@dataclass(frozen=True)
class Slip:
    """An edit of the true gradient, and how little it matters: a factor least, then a sign."""

    known: NamedFormula
    weight: int

    @property
    def rank(self) -> tuple[int, float]:
        """The least comes first."""
        return self.weight, self.known.cost


# Two slips, and the formula with both if their texts need not be joined.
Found = tuple[Slip, Slip, str]


def pairs_for(point: Point, stage: Stage, name: str, wanted: Array) -> Iterator[NamedFormula]:
    """Yield formulas with these values that differ from the true gradient by two known edits.

    The mistake that is named first is the graver one.
    """
    true = stage.gradients.get(name, "")
    right = point.value(true) if true else None
    known = None if right is None else point.known(stage, name, right.shape)
    if right is None or known is None:
        return
    formulas, rows, values = known
    slips = [
        Slip(each, weight) for each, weight in zip(formulas, _weights(values, right), strict=True)
    ]
    found = [*_around(stage, name, slips, values, wanted)]
    if right.shape == wanted.shape:
        pairs = _side_by_side(rows, rows.picked(right), rows.picked(wanted))
        found += [(slips[rows.place(i)], slips[rows.place(j)], "") for i, j in pairs]
    told = [
        each for each in found if all(slip.known.is_alone for slip in each[:2]) and _tells(each)
    ]
    told.sort(key=lambda each: each[0].known.cost + each[1].known.cost)
    for one, other, text in islice(told, MOST):
        if whole := text or joined(stage, true, one.known.expression, other.known.expression):
            grave, light = sorted((one, other), key=lambda each: each.rank)
            also = ((light.known.mistake, light.known.hint),)
            pair = replace(grave.known, expression=whole, also=also)
            if grave.weight == SIGN:
                yield from (_swapped(each.known, pair) for each in slips if _swaps(each))
            yield pair


def _weights(values: Array, right: Array) -> list[int]:
    """Return how little each of some values differs from the right ones."""
    flat, true = values.reshape(len(values), -1), right.reshape(-1)
    with np.errstate(all="ignore"):
        # Numpy's own product would start threads.
        factors = np.einsum("ij,j", flat, true) / (true * true).sum()
        off = np.abs(flat - factors[:, None] * true).max(1) > SAME * np.abs(flat).max(1)
    kinds = np.where(np.abs(factors + 1) < SAME, SIGN, FACTOR)
    return [int(each) for each in np.where(off | ~np.isfinite(factors), STRUCTURE, kinds)]


def _tells(found: Found) -> bool:
    """Return whether a pair says more than that there is a factor."""
    one, other, _ = found
    taught = one.known.taught and other.known.taught
    return taught or not one.weight == other.weight == FACTOR


def _swaps(slip: Slip) -> bool:
    """Return whether returns in each other's place look like a wrong sign."""
    known = slip.known
    return slip.weight == SIGN and len(known.with_it) == 1 and known.forward is None


def _swapped(order: NamedFormula, pair: NamedFormula) -> NamedFormula:
    """Return a pair with a sign as one in which two returns are in each other's place."""
    ((other, _),) = order.with_it
    return replace(
        order,
        expression=pair.expression,
        with_it=((other, f"-({pair.expression})"),),
        also=pair.also,
        instead=(pair.mistake, pair.hint),
    )


def _side_by_side(rows: Rows, true: Array, wanted: Array) -> Iterator[tuple[int, int]]:
    """Yield edits that together, in a product or in a sum, have the wanted values."""
    values = rows.values
    with np.errstate(all="ignore"):
        for queries in (wanted * true / values, wanted + true - values):
            asked, found = rows.find(np.where(np.isfinite(queries), queries, wanted))
            # Rows are found up to a factor, which has to be 1.
            near = (
                np.abs(queries[asked] - values[found])
                <= SAME * np.abs(values[found]).max(1)[:, None]
            )
            good = (near | ~np.isfinite(queries[asked])).all(1) & (asked < found)
            yield from zip(asked[good].tolist(), found[good].tolist(), strict=True)


def _around(
    stage: Stage, name: str, slips: Sequence[Slip], values: Array, wanted: Array
) -> Iterator[Found]:
    """Yield edits of which the whole has then been summed, transposed, squared."""
    rules, gap = data("neighbours")["wholes"], re.compile(r"\b_\b")
    wholes = {how: rules["always"][how] for how in ("squared", "absolute value")}
    wholes |= {} if stage.is_scalar else rules["shaped"]
    steps = [Step(pattern, along_axes=not stage.is_scalar) for pattern in wholes.values()]
    with np.errstate(all="ignore"):
        for how, step, made in zip(wholes, steps, values_after(steps, values), strict=True):
            if made.shape[1:] != wanted.shape:
                continue
            off = np.abs(made - wanted).reshape(len(made), -1).max(1, initial=0)
            for at in np.flatnonzero(off <= SAME * np.abs(wanted).max()).tolist():
                text = gap.sub(f"({stage.gradients[name]})", step.pattern)
                around = Slip(NamedFormula(text, slug(how), hint_for(how)), STRUCTURE)
                whole = gap.sub(f"({slips[at].known.expression})", step.pattern)
                yield slips[at], around, ast.unparse(ast.parse(whole, mode="eval"))


# The cache compares stages by identity.
@lru_cache(maxsize=64)
def interwoven(stage: Stage, name: str) -> tuple[NamedFormula, ...]:
    """Return formulas with two taught mistakes of which one changes what the other does.

    Their values are not those of the two by themselves, as in z · (1 + z) for a · (1 − a).
    """
    if name not in stage.gradients:
        return ()
    base = ast.parse(stage.gradients[name], mode="eval").body
    inner: list[tuple[NamedFormula, list[Edit]]] = []
    for known in known_formulas(stage, name):
        if known.taught and known.is_alone:
            edits = _edits(base, ast.parse(known.expression, mode="eval").body, ())
            if all(each.sides or (each.at and not each.kept and each.of is None) for each in edits):
                inner.append((known, edits))
    found: dict[str, NamedFormula] = {}
    for (one, edits), (other, more) in combinations(inner, 2):
        if (whole := _edited(base, [*edits, *more])) is not None:
            text, also = ast.unparse(whole), ((other.mistake, other.hint),)
            found.setdefault(text, replace(one, expression=text, also=also))
    return tuple(found.values())


Path = tuple[int, ...]


@dataclass(frozen=True)
class Edit:
    """What is done at one place of a tree: something else stands there.

    ``kept`` is where what stood there is inside the new part, and ``of`` which part of it is kept,
    as paths; None if nothing of it is. ``sides`` are its two sides, in their order
    or the other way round, between which another operator stands.
    """

    at: Path
    new: ast.expr
    kept: Path | None = None
    of: Path | None = None
    sides: tuple[int, int] | None = None


@lru_cache(maxsize=256)
def joined(stage: Stage, true: str, one: str, other: str) -> str | None:
    """Return the formula with the changes of two others, or None if they are in each other's way.

    Names in ``where`` are written out as they are in the formula that is nearer to these.
    """
    for base in written_out(stage, ast.parse(true, mode="eval").body):
        edits = [
            edit
            for text in (one, other)
            for edit in _edits(base, ast.parse(text, mode="eval").body, ())
        ]
        if (whole := _edited(base, edits)) is not None:
            return ast.unparse(whole)
    return None


def _edits(old: ast.expr, new: ast.expr, at: Path) -> list[Edit]:
    """Return the fewest places at which one tree differs from another."""
    if _same(old, new):
        return []
    if (kept := _place(old, new)) is not None:
        return [Edit(at, new, kept=kept)]
    if (of := _place(new, old)) is not None:
        return [Edit(at, new, of=of)]
    ours, theirs = _children(old), _children(new)
    if isinstance(old, ast.BinOp) and isinstance(new, ast.BinOp):
        for sides in ((0, 1), (1, 0)):
            if all(_same(ours[side], each) for side, each in zip(sides, theirs, strict=True)):
                commutes = isinstance(new.op, ast.Mult | ast.Add) and _head(old) == _head(new)
                return [] if commutes else [Edit(at, new, kept=(), sides=sides)]
    if _head(old) == _head(new) and len(ours) == len(theirs) > 0:
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [each for i, (x, y) in pairs for each in _edits(x, y, (*at, i))]
    return [Edit(at, new)]


def _edited(base: ast.expr, edits: Sequence[Edit]) -> ast.expr | None:
    """Return a tree with all edits made, the inner ones first; None if two are of one place."""
    for edit, other in permutations(edits, 2):
        if _under(edit.at, other.at) and not _go_together(edit, other):
            return None
    tree: ast.expr = _copied(base)
    for edit in sorted(edits, key=lambda each: (-len(each.at), each.kept is not None)):
        stood = _get(tree, edit.at)
        if edit.sides and isinstance(edit.new, ast.BinOp):
            children = _children(stood)
            if len(children) != 2:
                # Another edit has put something else there.
                return None
            left, right = (children[side] for side in edit.sides)
            new: ast.expr = ast.BinOp(left, edit.new.op, right)
        elif edit.of is not None:
            new = _get(stood, edit.of)
        elif edit.kept is not None:
            new = _put(_copied(edit.new), edit.kept, stood)
        else:
            new = edit.new
        tree = _put(tree, edit.at, new)
    return tree


def _go_together(outer: Edit, inner: Edit) -> bool:
    """Return whether an edit leaves what another one changes inside of it, or at its place."""
    if outer.at == inner.at and (outer.sides or inner.sides):
        return False
    if outer.kept is not None or outer.at == inner.at:
        return outer.kept is not None or inner.kept is not None
    return outer.of is not None and _under((*outer.at, *outer.of), inner.at)


def _under(outer: Path, inner: Path) -> bool:
    return inner[: len(outer)] == outer


def _same(one: ast.expr, other: ast.expr) -> bool:
    return _text(one) == _text(other)


# Trees that are compared are never changed, and a part of one is compared with many.
@lru_cache(maxsize=8192)
def _text(node: ast.AST) -> str:
    """Return a text that equal trees have in common; those of their parts are cached too."""
    told = (
        f"[{','.join(map(_value_text, value))}]" if isinstance(value, list) else _value_text(value)
        for name, value in ast.iter_fields(node)
        if name != "ctx"
    )
    return f"{type(node).__name__}({','.join(told)})"


def _value_text(value: object) -> str:
    return _text(value) if isinstance(value, ast.AST) else repr(value)


def _copied(value: Any) -> Any:
    """Return a copy of a syntax tree or a part of one, without its line numbers."""
    if isinstance(value, list):
        return [_copied(each) for each in value]
    if isinstance(value, ast.AST):
        return type(value)(**{name: _copied(each) for name, each in ast.iter_fields(value)})
    return value


def _place(part: ast.expr, whole: ast.expr) -> Path | None:
    """Return where a tree is inside another."""
    for i, child in enumerate(_children(whole)):
        if _same(part, child):
            return (i,)
        if (deeper := _place(part, child)) is not None:
            return (i, *deeper)
    return None


def _children(node: ast.AST) -> list[ast.expr]:
    return [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]


def _head(node: ast.expr) -> str:
    """Return what a node is, apart from its children."""
    own = (
        value if isinstance(value, list) else [value]
        for name, value in ast.iter_fields(node)
        if name != "ctx"
    )
    told = (
        ast.dump(each) if isinstance(each, ast.AST) else repr(each)
        for each in chain.from_iterable(own)
        if not isinstance(each, ast.expr)
    )
    return " ".join((type(node).__name__, *told))


def _get(tree: ast.expr, path: Path) -> ast.expr:
    for i in path:
        tree = _children(tree)[i]
    return tree


def _put(tree: ast.expr, path: Path, new: ast.expr) -> ast.expr:
    """Return the tree with something else at a place; it is changed itself."""
    if not path:
        return new
    parent = _get(tree, path[:-1])
    old = _children(parent)[path[-1]]
    for name, value in ast.iter_fields(parent):
        if value is old:
            setattr(parent, name, new)
        elif isinstance(value, list) and any(each is old for each in value):
            value[:] = [new if each is old else each for each in value]
    return tree
