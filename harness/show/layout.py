"""Where the values of a chain stand, and how each looks: numbers, layers and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from harness.formulas.notation import Formula
from harness.show.graph import Edge, Graph, Kind
from harness.show.mathematics import Block, set_formula
from harness.show.svg import Point, box, circle

RADIUS = 21.0
NEURON, APART, FRAME = 9.0, 25.0, 6.0
PARAMETER = (34.0, 28.0)
EDGE, LONG_EDGE = 68.0, 82.0  # the height of an edge from below
LABEL_AT = 0.6  # how far down such an edge its label stands
MARGIN = 8.0
LEAST_COLUMN = 104.0
TAG_GAP, APART_TAGS = 4.0, 10.0


@dataclass(frozen=True)
class Node:
    """A value at its place. A layer is drawn as three neurons, in a column or ``lying``."""

    name: Formula
    kind: Kind
    centre: Point
    lying: bool = False

    @property
    def reach(self) -> Point:
        """How far the node goes from its centre, across and down."""
        return reach(self.kind, lying=self.lying)

    @property
    def neurons(self) -> tuple[Point, ...]:
        """The centres of the circles it is drawn with; the one centre for a parameter."""
        x, y = self.centre
        if self.kind != "layer":
            return (self.centre,)
        steps = (-APART, 0.0, APART)
        return tuple((x + step, y) if self.lying else (x, y + step) for step in steps)

    def draw(self) -> str:
        """The node with its name: inside where there is room, below a layer."""
        (x, y), (across, down) = self.centre, self.reach
        name = set_formula(self.name)
        if self.kind == "neuron":
            return circle(self.centre, RADIUS) + _centred(name, x, y)
        if self.kind == "parameter":
            frame = box(x - across, y - down, 2 * across, 2 * down, rx=5)
            return frame + _centred(name, x, y)
        frame = box(
            x - across, y - down, 2 * across, 2 * down, rx=9, stroke_width=1, stroke_opacity=0.5
        )
        circles = "".join(circle(centre, NEURON) for centre in self.neurons)
        return frame + circles + _centred(name, x, y + down + 10)


@dataclass(frozen=True)
class Layout:
    """All nodes by value, where labels and tags begin (at half their height), and the picture's
    size without what is written below.
    """

    nodes: Mapping[str, Node]
    labels: Mapping[Edge, Point]
    tags: Mapping[Edge, Point]
    width: float
    height: float


def reach(kind: Kind, *, lying: bool = False) -> Point:
    """How far a value of this kind goes from its centre, across and down."""
    if kind == "neuron":
        return RADIUS, RADIUS
    if kind == "parameter":
        return PARAMETER[0] / 2, PARAMETER[1] / 2
    long, short = APART + NEURON + FRAME, NEURON + FRAME
    return (long, short) if lying else (short, long)


def lay_out(
    graph: Graph, labels: Mapping[Edge, Block], tags: Mapping[Edge, Block], *, lifted: bool
) -> Layout:
    """Places the spine from left to right and what enters beside it below.

    ``labels`` are what the edges carry; those of the spine stand over the edges, or, ``lifted``,
    over the nodes, where they may be wider; then the edges from below are longer, too. ``tags``
    are what some edges have beside them: over the label of the spine's, under the value of others.
    """
    columns = _Columns(graph, labels, tags, lifted)
    spine_y = columns.spine_height()
    nodes: dict[str, Node] = {}
    places: dict[Edge, Point] = {}
    tagged: dict[Edge, Point] = {}
    x = 0.0
    for at, value in enumerate(graph.spine):
        across, _ = reach(graph.kind(value))
        start = x + columns.step(at) if at else MARGIN + max(across, 20.0)
        x = max(start, MARGIN + columns.spread(value))
        nodes[value] = Node(graph.symbol(value), graph.kind(value), (x, spine_y))
        for edge in graph.along(value):
            middle = (nodes[edge.source].centre[0] + x) / 2
            top = spine_y - _clearance(graph, edge, lifted=lifted)
            places[edge] = (middle - labels[edge].width / 2, top - labels[edge].height / 2)
            if edge in tags:
                foot = top - labels[edge].height - TAG_GAP
                tagged[edge] = (middle - tags[edge].width / 2, foot - tags[edge].height / 2)
        _place_leaves(columns, value, nodes, places, tagged)
    ends = [node.centre[0] + node.reach[0] for node in nodes.values()]
    ends += [tagged[edge][0] + tag.width for edge, tag in tags.items()]
    feet = [_bottom(node) for node in nodes.values()]
    feet += [tagged[edge][1] + tag.height / 2 for edge, tag in tags.items()]
    return Layout(nodes, places, tagged, max(ends) + MARGIN, max(feet) + MARGIN)


def _place_leaves(
    columns: _Columns,
    value: str,
    nodes: dict[str, Node],
    places: dict[Edge, Point],
    tagged: dict[Edge, Point],
) -> None:
    graph, labels, tags = columns.graph, columns.labels, columns.tags
    height = LONG_EDGE if columns.lifted else EDGE
    x, y = nodes[value].centre
    foot = y + nodes[value].reach[1]
    for edge, offset in columns.offsets(value).items():
        kind = graph.kind(edge.source)
        across, down = reach(kind, lying=True)
        centre = (x + offset, foot + height + down)
        node = nodes[edge.source] = Node(graph.symbol(edge.source), kind, centre, lying=True)
        beside = 7 + (across * 0.6 if kind == "layer" else abs(offset) * 0.85)
        left = x + beside if offset > 0 else x - beside - labels[edge].width
        places[edge] = (left, foot + height * LABEL_AT)
        if edge in tags:
            top = _bottom(node) + TAG_GAP
            tagged[edge] = (centre[0] - tags[edge].width / 2, top + tags[edge].height / 2)


@dataclass(frozen=True)
class _Columns:
    """How much room each value of the spine needs, with what enters there from below."""

    graph: Graph
    labels: Mapping[Edge, Block]
    tags: Mapping[Edge, Block]
    lifted: bool

    def offsets(self, value: str) -> dict[Edge, float]:
        """How far beside the value each of its leaves stands: apart as their tags need it."""
        leaves = self.graph.leaves(value)
        apart = 84.0 if len(leaves) == 2 else 60.0
        for one, other in pairwise(leaves):
            if one in self.tags and other in self.tags:
                halves = (self.tags[one].width + self.tags[other].width) / 2
                apart = max(apart, halves + APART_TAGS)
        return {edge: (at - (len(leaves) - 1) / 2) * apart for at, edge in enumerate(leaves)}

    def spread(self, value: str) -> float:
        """How far what stands below the value goes to either side of it."""
        halves = {
            edge: max(
                reach(self.graph.kind(edge.source), lying=True)[0],
                self.tags[edge].width / 2 if edge in self.tags else 0.0,
            )
            for edge in self.graph.leaves(value)
        }
        offsets = self.offsets(value)
        return max((abs(offsets[edge]) + half for edge, half in halves.items()), default=0.0)

    def step(self, at: int) -> float:
        """The distance from one value of the spine to the next."""
        graph, labels = self.graph, self.labels
        value, before = graph.spine[at], graph.spine[at - 1]
        ends = reach(graph.kind(value))[0] + reach(graph.kind(before))[0] + 12
        widest = max((labels[edge].width for edge in graph.along(value)), default=0.0)
        tags = [self.tags[edge].width for edge in graph.along(value) if edge in self.tags]
        below = [self.spread(each) for each in (before, value)]
        return max(
            LEAST_COLUMN,
            widest + (20.0 if self.lifted else ends),
            *(width + APART_TAGS for width in tags),
            sum(below) + APART_TAGS if all(below) else 0.0,
        )

    def spine_height(self) -> float:
        """How far below the picture's top the spine is."""
        graph = self.graph
        above = [reach(graph.kind(value))[1] for value in graph.spine]
        for edge in (edge for value in graph.spine for edge in graph.along(value)):
            tag = self.tags[edge].height + TAG_GAP if edge in self.tags else 0.0
            label = self.labels[edge].height
            above.append(_clearance(graph, edge, lifted=self.lifted) + label + tag)
        return max(above) + MARGIN


def _clearance(graph: Graph, edge: Edge, *, lifted: bool) -> float:
    """How far above the spine an edge's label ends."""
    ends = [graph.kind(edge.source), graph.kind(edge.target)]
    if lifted:
        return max(reach(kind)[1] for kind in ends) + 3
    return APART + 5 if "layer" in ends else 6.0


def _bottom(node: Node) -> float:
    return node.centre[1] + node.reach[1] + (20 if node.kind == "layer" else 0)


def _centred(block: Block, x: float, y: float) -> str:
    return block.draw(x - block.width / 2, y)
