"""A few inputs at which formulas are compared first, with the values of all formulas there."""

import ast
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from harness.cases.cases import largest
from harness.course.inputs import Given, Mask, Whole
from harness.course.stage import Stage, Upstream, Values
from harness.expressions.rows import Block, Rows, Shape, Term, columns_of
from harness.expressions.steps import Array
from harness.expressions.table import Table
from harness.expressions.variants import parts_of, terms_of, written_out
from harness.formulas.known import NamedFormula, known_formulas
from harness.formulas.same import value_of
from harness.formulas.samples import Sample, is_right

Place = tuple[Values, Upstream]
Formulas = Callable[[Stage, str], tuple[NamedFormula, ...]]
# Formulas of one shape, as rows to be found by value, and all their values.
Known = tuple[tuple[NamedFormula, ...], Rows, Array]
# Only upstreams of this size are compared together: the others differ too much from them.
LEAST, MOST = 0.05, 20.0
# How many sizes are tried: matrix products can be undone in some sizes only.
PLACES = 3
# How many of the functions that the true gradient calls are parts of expressions.
CALLS = 3


class Point:
    """A stage at one place, or, if it works on single numbers, at several side by side."""

    def __init__(
        self,
        stage: Stage,
        places: Sequence[Place],
        outputs: Sequence[tuple[Tensor, ...]] | None = None,
    ) -> None:
        self._stage, self._places = stage, tuple(places)
        self._outputs = outputs or [stage.run(inputs) for inputs, _ in places]
        self._known: dict[tuple[Stage, str, Formulas], dict[Shape, Known]] = {}

    def value(self, expression: str) -> Array | None:
        """Return the value of an expression, or None if it has none that is a tensor of numbers."""
        found: list[Tensor] = []
        for (inputs, upstream), outputs in zip(self._places, self._outputs, strict=True):
            value = value_of(self._stage, expression, inputs, upstream, outputs)
            if value is None or value.is_complex() or (self._stage.is_scalar and value.dim()):
                return None
            found.append(value.detach().double())
        return self.joined(found)

    def joined(self, values: Sequence[Tensor]) -> Array:
        """Return the values at the places as one array, as they are compared."""
        together = torch.stack(list(values)) if self._stage.is_scalar else values[0]
        # Numpy would give a single number an axis.
        return np.ascontiguousarray(together.numpy()).reshape(together.shape)

    def near(
        self, stage: Stage, name: str, wanted: Array, formulas: Formulas = known_formulas
    ) -> list[NamedFormula]:
        """Return a stage's known formulas for input ``name`` with these values up to a factor."""
        if (known := self.known(stage, name, wanted.shape, formulas)) is None:
            return []
        named, rows, _ = known
        found = rows.find(rows.picked(wanted)[None])[1]
        return [named[rows.place(row)] for row in sorted(found, key=lambda at: rows.costs[at])]

    def known(
        self, stage: Stage, name: str, shape: Shape, formulas: Formulas = known_formulas
    ) -> Known | None:
        """Return a stage's known formulas for input ``name`` whose values have a shape, if any."""
        key = stage, name, formulas
        if key not in self._known:
            self._known[key] = self._by_shape(formulas(stage, name))
        return self._known[key].get(shape)

    @cached_property
    def names(self) -> dict[str, Array]:
        """The values of what expressions are made of, by text, as they are compared.

        These are the upstreams, inputs, outputs, and names in ``where``; labels as one-hot rows.
        """
        values: dict[str, Array] = {}
        known = (*self._places[0][0], *self._outputs[0])
        most = max(1, *(value.dim() for value in known if isinstance(value, Tensor)))
        for text in _names(self._stage):
            value = value_of(self._stage, text, *self._places[0], self._outputs[0])
            # Torch multiplies matrices of one dtype only.
            typed = text if value is None or value.is_floating_point() else f"{text}.double()"
            whole = self.value(f"({typed}) * ones(()).double()")
            if whole is not None and whole.ndim <= most:
                values[typed] = whole
        # An output of another shape than the upstream's has no place in sums and products.
        for upstream, output in zip(self._stage.upstreams, self._stage.outputs, strict=True):
            if output in values and values[output].shape != values[upstream].shape:
                del values[output]
        return values

    @cached_property
    def upstreams(self) -> dict[str, Array]:
        """The values of the upstreams, also with the axis that a reduction has taken."""
        bases = {text: text.partition(".")[0] for text in self.names}
        return {
            text: self.names[text] for text, base in bases.items() if base in self._stage.upstreams
        }

    @property
    def tensors(self) -> dict[str, Array]:
        """The values of the upstreams, inputs and outputs by name."""
        known = (*self._stage.upstreams, *self._stage.quantities)
        return {name: self.names[name] for name in known if name in self.names}

    def terms(self, true: str) -> list[tuple[str, tuple[str, ...]]]:
        """Return the terms of the true gradient, and what stands around their sum."""
        if not true:
            return []
        trees = written_out(self._stage, ast.parse(true, mode="eval").body)
        return [found for tree in trees if (found := terms_of(tree))]

    @cached_property
    def table(self) -> Table:
        """All small expressions of the stage's names."""
        texts = parts_of(*self._stage.gradients.values(), *self._stage.where.values())
        parts = ((text, self.value(text)) for text in texts)
        whole = {text: value for text, value in parts if value is not None}
        names = self.names
        if not self._stage.is_scalar:
            # What the true gradient calls a function for is a quantity by itself.
            calls = [text for text in whole if re.fullmatch(r"\w+\(.*\)", text)]
            names = {**names, **{text: whole[text] for text in calls[:CALLS]}}
        inputs, _ = self._places[0]
        given = zip(self._stage.names_of(inputs), inputs, strict=True)
        axes = tuple((name, value) for name, value in given if type(value) is int)
        return Table(names, whole, axes, shaped=not self._stage.is_scalar)

    def _by_shape(self, formulas: Sequence[NamedFormula]) -> dict[Shape, Known]:
        found: dict[Shape, list[tuple[NamedFormula, Array]]] = {}
        for known in formulas:
            if (value := self.value(known.expression)) is not None:
                found.setdefault(value.shape, []).append((known, value))
        return {shape: _rows_of(pairs) for shape, pairs in found.items()}


def _rows_of(pairs: Sequence[tuple[NamedFormula, Array]]) -> Known:
    formulas = tuple(known for known, _ in pairs)
    costs = np.array([known.cost for known in formulas])

    def write(row: int) -> Term:
        return Term(formulas[row].expression, float(costs[row]))

    values = np.stack([value for _, value in pairs])
    columns = columns_of(values.shape[1:])
    block = Block(values.reshape(len(values), -1)[:, columns], costs, write)
    return formulas, Rows(block, columns), values


def _names(stage: Stage) -> Iterator[str]:
    """Yield what expressions of a stage are made of."""
    yield from stage.upstreams
    yield from (name for name in stage.quantities if name not in stage.outputs)
    yield from stage.outputs
    yield from stage.where
    for name, each in stage.inputs.items():
        match each.kind:
            case Whole(upto=upto) if not each.several:
                yield f"one_hot({name}, {upto})"
            case Mask() if not each.several:
                yield name
                yield f"(~{name})"
            case Given(choices=choices) if len(choices) > 1 and all(
                isinstance(choice, float) for choice in choices
            ):
                yield name
    given = [name for name, each in stage.inputs.items() if each.is_given]
    for one in (*stage.upstreams, *stage.outputs):
        # As it was before a reduction along an axis that is given.
        yield from (f"{one}.unsqueeze({name})" for name in given)


def points_for(stage: Stage, samples: Sequence[Sample]) -> list[tuple[Point, Array]]:
    """Return where to compare formulas, the best place first, and what backward returned there."""
    return [_at(stage, chosen) for chosen in _chosen(stage, samples)]


def _at(stage: Stage, chosen: Sequence[Sample]) -> tuple[Point, Array]:
    places = tuple((sample.inputs, sample.upstream) for sample in chosen)
    if all(is_right(stage, sample) for sample in chosen):
        point = _reference_point(stage, places)
    else:
        point = Point(stage, places, [sample.outputs for sample in chosen])
    return point, point.joined([sample.got for sample in chosen])


def _chosen(stage: Stage, samples: Sequence[Sample]) -> list[Sequence[Sample]]:
    """Return one sample of each of the first few sizes; of numbers, all whose g is near 1."""
    near = [sample for sample in samples if LEAST < largest(sample.upstream) < MOST]
    near = [sample for sample in near if all(each is not None for each in sample.upstream)] or near
    near = near or list(samples[:1])
    if stage.is_scalar:
        return [near]
    sizes: dict[object, Sequence[Sample]] = {}
    for sample in near:
        shapes = (value.shape for value in sample.inputs if isinstance(value, Tensor))
        sizes.setdefault(tuple(shapes), (sample,))
    return list(sizes.values())[:PLACES]


# The cache compares tensors by identity; cases are made once.
@lru_cache(maxsize=64)
def _reference_point(stage: Stage, places: tuple[Place, ...]) -> Point:
    return Point(stage, places)
