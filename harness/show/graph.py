"""The chain as a graph: values, and edges from each input of a stage to its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.formulas.notation import SUBSCRIPTS, Formula, symbol

if TYPE_CHECKING:
    from harness.course.assignment import Assignment
    from harness.course.stage import Stage

# The indices of a sample's outputs and inputs in a formula; that of samples stays unwritten.
INDICES = {"K": "j", "n_in": "k"}
SAMPLES = "N"
Kind = Literal["neuron", "layer", "parameter"]


@dataclass(frozen=True)
class Edge:
    """An edge from an input of a stage to its output; the stage calls ``source`` ``input``."""

    stage: Stage
    input: str
    source: str
    target: str

    @property
    def check(self) -> str:
        """The id of the check that judges the gradient along this edge."""
        return f"{self.stage.slug}/gradient/{self.input}"

    @property
    def is_optional(self) -> bool:
        """True if None is a right gradient for the input."""
        return self.input in self.stage.optional


@dataclass(frozen=True)
class Graph:
    """The chain. ``spine`` holds the values from the first input to the cost, in order.

    ``dimensions`` names the dimensions of each value, none for a number; ``names`` holds a value's
    name in formulas, such as C₀ for C.
    """

    spine: tuple[str, ...]
    edges: tuple[Edge, ...]
    dimensions: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str]

    def kind(self, value: str) -> Kind:
        """Return whether a value is a number, one for each neuron and sample, or a parameter."""
        dimensions = self.dimensions[value]
        if not dimensions:
            return "neuron"
        return "layer" if SAMPLES in dimensions else "parameter"

    def entering(self, target: str, *, along: bool) -> tuple[Edge, ...]:
        """Return the edges to ``target`` along the spine, or those from beside it."""
        return tuple(
            edge
            for edge in self.edges
            if edge.target == target and (edge.source in self.spine) == along
        )

    def symbol(self, value: str, *, indexed: bool = False) -> Formula:
        """Return the value as mathematics, with the indices of one neuron if ``indexed``."""
        letters = (INDICES.get(each, "") for each in self.dimensions[value])
        return symbol(self.names[value], "".join(letters) if indexed else "")

    def summed(self, edge: Edge) -> tuple[str, ...]:
        """Return the dimensions over which the gradient of the edge's source is a sum."""
        mine = self.dimensions[edge.source]
        return tuple(each for each in self.dimensions[edge.target] if each not in mine)


def graph_of(assignment: Assignment) -> Graph:
    """Return the graph of the assignment's chain. Raise ValueError if it has none."""
    if not assignment.chain:
        raise ValueError(f"{assignment.name} has no chain to draw")
    edges: list[Edge] = []
    dimensions: dict[str, tuple[str, ...]] = {}
    spine = [assignment.chain[0].inputs[0]]
    names: dict[str, str] = {}
    for link in assignment.chain:
        stage = assignment.stage(link.stage)
        for name, source in zip(stage.inputs, link.inputs, strict=True):
            edges.append(Edge(stage, name, source, link.outputs[0]))
            dimensions.setdefault(source, stage.inputs[name].axes)
            names.setdefault(source, source)
        (output,) = link.outputs
        dimensions[output] = stage.output_dimensions
        # C₀ for ``C₀ = (a − y)²`` and the output C; the output if the formula's differs.
        left = stage.formula.partition("=")[0].strip()
        names[output] = left if left.rstrip(SUBSCRIPTS) == output else output
        spine.append(output)
    return Graph(tuple(spine), tuple(edges), dimensions, names)
