"""What a chain is made of: values, and edges from each input of a stage to its output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.formulas.notation import SUBSCRIPTS, Formula, symbol

if TYPE_CHECKING:
    from harness.course.assignment import Assignment
    from harness.course.stage import Stage

# The letters that count samples' outputs and inputs in a formula; samples stay unwritten.
INDICES = {"K": "j", "n_in": "k"}
SAMPLES = "N"
Kind = Literal["neuron", "layer", "parameter"]


@dataclass(frozen=True)
class Edge:
    """One input of a stage leads to its output; ``input`` is the stage's name for ``source``."""

    stage: Stage
    input: str
    source: str
    target: str

    @property
    def check(self) -> str:
        """The id of the check that judges the gradient along this edge."""
        return f"{self.stage.slug}/gradient/{self.input}"


@dataclass(frozen=True)
class Graph:
    """The chain: ``spine`` holds the values from the first input to the cost, in order.

    ``dimensions`` names the dimensions of each value, none for a number; ``names`` says how a
    formula writes a value, such as C₀ for C.
    """

    spine: tuple[str, ...]
    edges: tuple[Edge, ...]
    dimensions: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str]

    def kind(self, value: str) -> Kind:
        """How a value is drawn: a number, a number for each neuron and sample, or a parameter."""
        dimensions = self.dimensions[value]
        if not dimensions:
            return "neuron"
        return "layer" if SAMPLES in dimensions else "parameter"

    def leaves(self, target: str) -> tuple[Edge, ...]:
        """The edges that enter at ``target`` from beside the spine."""
        return tuple(
            edge for edge in self.edges if edge.target == target and edge.source not in self.spine
        )

    def along(self, target: str) -> tuple[Edge, ...]:
        """The edges that lead to ``target`` along the spine."""
        return tuple(
            edge for edge in self.edges if edge.target == target and edge.source in self.spine
        )

    def symbol(self, value: str, *, indexed: bool = False) -> Formula:
        """The value as mathematics, with the indices of one neuron where asked for."""
        letters = (INDICES.get(each, "") for each in self.dimensions[value])
        return symbol(self.names[value], "".join(letters) if indexed else "")

    def summed(self, edge: Edge) -> tuple[str, ...]:
        """The dimensions over which the gradient of the edge's source adds up contributions."""
        mine = self.dimensions[edge.source]
        return tuple(each for each in self.dimensions[edge.target] if each not in mine)


def graph_of(assignment: Assignment) -> Graph:
    """The graph of the assignment's chain. Raises ValueError where it has none."""
    if not assignment.chain:
        raise ValueError(f"{assignment.name} has no chain to draw")
    edges: list[Edge] = []
    dimensions: dict[str, tuple[str, ...]] = {}
    spine = [assignment.chain[0].inputs[0]]
    names: dict[str, str] = {}
    for link in assignment.chain:
        stage = assignment.stage(link.stage)
        for name, source in zip(stage.inputs, link.inputs, strict=True):
            edges.append(Edge(stage, name, source, link.output))
            dimensions.setdefault(source, tuple(stage.inputs[name].split()))
            names.setdefault(source, source)
        dimensions[link.output] = _output_dimensions(stage, assignment.sizes[0])
        names[link.output] = _written(stage.formula, link.output)
        spine.append(link.output)
    return Graph(tuple(spine), tuple(edges), dimensions, names)


def _written(formula: str, output: str) -> str:
    """The left side of ``C₀ = (a − y)²`` for the output C; the output where it is another name."""
    left = formula.partition("=")[0].strip()
    return left if left.rstrip(SUBSCRIPTS) == output else output


def _output_dimensions(stage: Stage, sizes: Mapping[str, int]) -> tuple[str, ...]:
    import torch

    output = stage.forward(*stage.sample(torch.Generator().manual_seed(0), sizes))
    names = {size: name for name, size in sizes.items()}
    return tuple(names.get(size, str(size)) for size in output.shape)
