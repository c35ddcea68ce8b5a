"""A network as a graph: values, and edges from each input of a stage to its output."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from harness.expressions.notation import INDICES, SUBSCRIPTS, Formula, symbol

if TYPE_CHECKING:
    from harness.candidate.operations import Link
    from harness.course.network import Network
    from harness.course.stage import Stage

# The letters of dimensions in turn; that of the samples, which comes first, stays unwritten.
LETTERS = INDICES + "lmpq"
# A person cannot read a drawing that is larger than this.
LONGEST, MOST_BESIDE, MOST_SKIPS, DEEPEST = 8, 2, 2, 3
Kind = Literal["neuron", "layer", "parameter"]


@dataclass(frozen=True)
class Edge:
    """An edge from an input of a stage to its output; the stage calls ``source`` ``input``.

    An edge of one of torch's own operations has no stage.
    """

    stage: Stage | None
    input: str
    source: str
    target: str

    @property
    def check(self) -> str:
        """The id of the check that judges the gradient along this edge, "" if none does."""
        return f"{self.stage.slug}/gradient/{self.input}" if self.stage else ""

    @property
    def has_gradient(self) -> bool:
        """True if a stage returns a gradient along the edge."""
        return self.stage is not None and self.input in self.stage.differentiable

    @property
    def is_optional(self) -> bool:
        """True if None is a right gradient for the input."""
        return not self.stage or self.input not in self.stage.required


@dataclass(frozen=True)
class Graph:
    """The chain. ``spine`` holds the values of the longest path to the cost, in order.

    ``dimensions`` names the dimensions of each value, none for a number; ``names`` holds a value's
    name in formulas, such as C₀ for C. ``repeat`` tells which part of the spine, from one value to
    another, comes how often. ``samples`` is the dimension that counts them, the first of the
    network's first argument, and ``indices`` are letters for the others.
    """

    spine: tuple[str, ...]
    edges: tuple[Edge, ...]
    dimensions: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str]
    repeat: tuple[str, str, int] | None = None
    samples: str = ""
    indices: Mapping[str, str] = field(default_factory=dict)

    def kind(self, value: str) -> Kind:
        """Return whether a value is a number, one for each neuron and sample, or a parameter."""
        if not (dimensions := self.dimensions[value]):
            return "neuron"
        return "layer" if self.samples in dimensions else "parameter"

    def entering(self, target: str, *, along: bool) -> tuple[Edge, ...]:
        """Return the edges to ``target`` along the spine, or those from beside it."""
        before = self.spine[self.spine.index(target) - 1] if target in self.spine else ""
        return tuple(
            edge
            for edge in self.edges
            if edge.target == target
            if (edge.source == before if along else edge.source not in self.spine)
        )

    @property
    def skips(self) -> tuple[Edge, ...]:
        """The edges from a value of the spine to another that is not the next."""
        places = {value: at for at, value in enumerate(self.spine)}
        return tuple(
            edge
            for edge in self.edges
            if edge.source in places and edge.target in places
            if places[edge.target] - places[edge.source] != 1
        )

    def symbol(self, value: str, *, indexed: bool = False) -> Formula:
        """Return the value as mathematics, with the indices of one neuron if ``indexed``."""
        letters = (self.indices.get(each, "") for each in self.dimensions[value])
        return symbol(self.names[value], "".join(letters) if indexed else "")

    def summed(self, edge: Edge) -> tuple[str, ...]:
        """Return the dimensions over which the gradient of the edge's source is a sum."""
        mine = self.dimensions[edge.source]
        return tuple(each for each in self.dimensions[edge.target] if each not in mine)

    @property
    def is_drawable(self) -> bool:
        """Whether a person can read a drawing of it."""
        beside = [value for value in self.dimensions if value not in self.spine]
        leaving = Counter(edge.source for edge in self.edges)
        places = {value: at for at, value in enumerate(self.spine)}
        return (
            all(value in self.spine for value in (self.repeat or ())[:2])
            and len(self.spine) <= LONGEST
            and len(self.skips) <= MOST_SKIPS
            and all(places[each.source] < places[each.target] for each in self.skips)
            and all(leaving[value] == 1 for value in beside)
            and all(each.target in places for each in self.edges if each.source in places)
            and len({(each.source, each.target) for each in self.edges}) == len(self.edges)
            and all(
                len(self.entering(each, along=False)) <= MOST_BESIDE + (each not in self.spine)
                for each in self.names
            )
            and all(self._depth(value) <= DEEPEST for value in self.spine)
        )

    def _depth(self, value: str) -> int:
        sources = [edge.source for edge in self.entering(value, along=False)]
        return max((1 + self._depth(each) for each in sources), default=0)


def graph_of(network: Network | None, *, fold: bool = True) -> Graph | None:
    """Return the graph of a network; None if it cannot be drawn well.

    ``fold`` leaves of a part that is repeated one only.
    """
    if network is None or any(len(link.outputs) > 1 for link in network.links):
        return None
    links = [*_links(network)]
    spine, repeat = _spine(network.ends[0], links), None
    if fold and (found := _repeat(spine, links)):
        start, length, count = found
        links = [*_once(spine, links, start, length, count)]
        repeat = spine[start], spine[start + length - 1], count
        end = spine[start + length - 1] if start + length * count == len(spine) else spine[-1]
        spine = _spine(end, links)
    edges = tuple(
        Edge(network.stage.get(link.stage), name, source, link.outputs[0])
        for link in links
        for name, source in _named(network, link)
    )
    dimensions, names = _described(network, links)
    samples = next(iter(dimensions.get(network.arguments[0], ())), "")
    graph = Graph(spine, edges, dimensions, names, repeat, samples)
    graph = replace(graph, indices=_indices(graph))
    return graph if graph.is_drawable else None


def _links(network: Network) -> Iterator[Link]:
    """Yield the links between tensors: without given values, and without shapes."""
    left_out = {*network.given}
    left_out |= {x for x, roles in network.roles.items() if all(of.is_given for _, _, of in roles)}
    for link in network.links:
        sources = [each.rpartition("=")[2] for each in link.inputs]
        used = tuple(each for each in sources if each not in left_out)
        is_shape = link.stage == "torch.size" or (
            link.stage == "torch.getattr" and network.given[sources[1]] in ("shape", "ndim")
        )
        if used and not is_shape:
            yield replace(link, inputs=used)
        else:
            left_out |= {*link.outputs}


def _spine(end: str, links: Sequence[Link]) -> tuple[str, ...]:
    """Return the values of the longest path to the end; through the first of two inputs alike."""
    makers = {link.outputs[0]: link for link in links}
    lengths: dict[str, int] = {}
    for link in links:
        longest = max(lengths.get(each, 0) for each in link.inputs)
        lengths[link.outputs[0]] = longest + 1
    path = [end]
    while path[-1] in makers:
        path.append(max(makers[path[-1]].inputs, key=lambda each: lengths.get(each, 0)))
    return tuple(reversed(path))


def _repeat(spine: Sequence[str], links: Sequence[Link]) -> tuple[int, int, int] | None:
    """Return where a part of the spine begins that comes several times, its length, how often."""
    makers = {link.outputs[0]: link for link in links}
    made = [(makers[each].stage, len(makers[each].inputs)) for each in spine[1:]]
    best: tuple[int, int, int] | None = None
    for length in range(1, len(made) // 2 + 1):
        for start in range(len(made) - length):
            count = 1
            part = made[start : start + length]
            while made[start + count * length : start + (count + 1) * length] == part:
                count += 1
            if count > 1 and (best is None or (count - 1) * length > (best[2] - 1) * best[1]):
                best = start + 1, length, count
    return best


def _once(
    spine: Sequence[str], links: Sequence[Link], start: int, length: int, count: int
) -> Iterator[Link]:
    """Yield the links with a part of the spine once, which is repeated ``count`` times."""
    copies = spine[start + length : start + count * length]
    same = {value: spine[start + at % length] for at, value in enumerate(copies)}
    needed = {*spine}
    kept: list[Link] = []
    for link in reversed(links):
        if link.outputs[0] in needed and link.outputs[0] not in same:
            needed |= {*link.inputs}
            kept.append(replace(link, inputs=tuple(same.get(x, x) for x in link.inputs)))
    yield from reversed(kept)


def _named(network: Network, link: Link) -> Iterator[tuple[str, str]]:
    """Yield the names that a stage has for its inputs, with the values."""
    if (stage := network.stage.get(link.stage)) is None:
        yield from (("", each) for each in link.inputs)
        return
    original = next(each for each in network.links if each.outputs == link.outputs)
    left = [*link.inputs]
    of = zip(stage.names_of(original.inputs), original.inputs, strict=True)
    names = [name for name, _ in of if not stage.inputs[name].is_given]
    yield from zip(names, left, strict=False)


def _described(
    network: Network, links: Sequence[Link]
) -> tuple[dict[str, tuple[str, ...]], dict[str, str]]:
    """Return the dimensions of each value, and its name in formulas."""
    from harness.course.shapes import sides_of

    sides = sides_of(network)
    dimensions: dict[str, tuple[str, ...]] = {}
    names: dict[str, str] = {}
    for link in links:
        for value in (*link.inputs, *link.outputs):
            dimensions[value] = sides.axes(value)
            names.setdefault(value, value)
        stage, (output,) = network.stage.get(link.stage), link.outputs
        if stage:
            # C₀ for ``C₀ = (a − y)²`` and the output C; the output if the formula's differs.
            left = stage.formula.partition("=")[0].strip()
            names[output] = left if left.rstrip(SUBSCRIPTS) == output else output
    return dimensions, names


def _indices(graph: Graph) -> dict[str, str]:
    """Return a letter for each dimension but that of the samples: of outputs first."""
    named = [name for edge in graph.edges for name in graph.dimensions[edge.target]]
    named += [name for edge in graph.edges for name in graph.dimensions[edge.source]]
    others = [each for each in dict.fromkeys(named) if each not in ("", "1", graph.samples)]
    return dict(zip(others, LETTERS[1:], strict=False))
