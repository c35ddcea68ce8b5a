"""A few inputs at which formulas are compared first, with the values of all formulas there."""

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
import torch
from torch import Tensor

from harness.course.stage import Stage, Upstream, Values
from harness.formulas.known import NamedFormula, known_formulas
from harness.formulas.same import value_of
from harness.formulas.samples import Sample, is_right, most
from harness.formulas.steps import Array
from harness.formulas.table import Block, Rows, Shape, Table, Term
from harness.formulas.variants import parts_of

Place = tuple[Values, Upstream]
# Only upstreams of this size are compared together: the others differ too much from them.
LEAST, MOST = 0.05, 20.0
# How many sizes are tried: matrix products can be undone in some sizes only.
PLACES = 3


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
        self._known: dict[str, dict[Shape, tuple[tuple[NamedFormula, ...], Rows]]] = {}

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

    def near(self, name: str, wanted: Array) -> list[NamedFormula]:
        """Return the known formulas for input ``name`` with the wanted values up to a factor."""
        if name not in self._known:
            self._known[name] = self._by_shape(known_formulas(self._stage, name))
        if wanted.shape not in self._known[name]:
            return []
        formulas, rows = self._known[name][wanted.shape]
        found = rows.find(wanted.reshape(1, -1))[1]
        return [formulas[rows.place(row)] for row in sorted(found, key=lambda at: rows.costs[at])]

    @cached_property
    def names(self) -> dict[str, Array]:
        """The values of the upstreams, inputs and outputs by name, as they are compared."""
        scopes = [
            self._stage.scope(inputs, upstream, outputs)
            for (inputs, upstream), outputs in zip(self._places, self._outputs, strict=True)
        ]
        values: dict[str, Array] = {}
        for name in (*self._stage.upstreams, *self._stage.quantities):
            column = [scope[name] for scope in scopes]
            if all(isinstance(value, Tensor) for value in column):
                values[name] = self.joined([value.detach().double() for value in column])
        # An output of another shape than the upstream's has no place in sums and products.
        for upstream, output in zip(self._stage.upstreams, self._stage.outputs, strict=True):
            if values[output].shape != values[upstream].shape:
                del values[output]
        return values

    @cached_property
    def table(self) -> Table:
        """All small expressions of the stage's names."""
        parts = ((text, self.value(text)) for text in parts_of(*self._stage.gradients.values()))
        whole = {text: value for text, value in parts if value is not None}
        return Table(self.names, whole, shaped=not self._stage.is_scalar)

    def _by_shape(
        self, formulas: Sequence[NamedFormula]
    ) -> dict[Shape, tuple[tuple[NamedFormula, ...], Rows]]:
        found: dict[Shape, list[tuple[NamedFormula, Array]]] = {}
        for known in formulas:
            value = self.value(known.expression)
            if value is not None:
                found.setdefault(value.shape, []).append((known, value))
        return {shape: _rows_of(pairs) for shape, pairs in found.items()}


def _rows_of(pairs: Sequence[tuple[NamedFormula, Array]]) -> tuple[tuple[NamedFormula, ...], Rows]:
    formulas = tuple(known for known, _ in pairs)
    costs = np.array([known.cost for known in formulas])

    def write(row: int) -> Term:
        return Term(formulas[row].expression, float(costs[row]))

    return formulas, Rows(Block(np.stack([value for _, value in pairs]), costs, write))


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
    near = [sample for sample in samples if LEAST < most(sample.upstream) < MOST]
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
