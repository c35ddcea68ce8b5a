"""Where the values of a chain stand, and how they look: numbers, layers and parameters."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from harness.drawing.graph import Edge, Graph, Kind
from harness.drawing.mathematics import Block, set_formula
from harness.drawing.svg import Point, box, circle
from harness.expressions.notation import Formula

RADIUS = 21.0
NEURON, APART, FRAME = 9.0, 25.0, 6.0
_EXTENTS: dict[Kind, Point] = {
    "neuron": (RADIUS, RADIUS),
    "parameter": (17.0, 14.0),
    "layer": (NEURON + FRAME, APART + NEURON + FRAME),
}
EDGE, LONG_EDGE = 68.0, 82.0  # the height of an edge from below
LABEL_AT = 0.6  # the height of its label, as a share of the edge from the top
MARGIN = 8.0
MARK = 24.0  # what a mark takes above its value
ARC, BRACKET = 44.0, 26.0  # the heights of an edge over others, and of a bracket
LEAST_COLUMN = 104.0
TAG_GAP, APART_TAGS = 4.0, 10.0


@dataclass(frozen=True)
class Node:
    """A value at its place. A layer is drawn as three neurons, in a column or ``lying``.

    The name of one that is ``entered`` from below stands beside it.
    """

    name: Formula
    kind: Kind
    centre: Point
    lying: bool = False
    entered: bool = False

    @property
    def extent(self) -> Point:
        """The distances from the centre to the node's edges, across and down."""
        return extent(self.kind, lying=self.lying)

    @property
    def bottom(self) -> float:
        """The lower end of the node, with the name below a layer."""
        named = self.kind == "layer" and not self.entered
        return self.centre[1] + self.extent[1] + (20 if named else 0)

    @property
    def neurons(self) -> tuple[Point, ...]:
        """The centres of a layer's circles; the one centre of other nodes."""
        x, y = self.centre
        if self.kind != "layer":
            return (self.centre,)
        steps = (-APART, 0.0, APART)
        return tuple((x + step, y) if self.lying else (x, y + step) for step in steps)

    def draw(self) -> str:
        """Draw the node with its name: inside if there is room, below a layer."""
        (x, y), (across, down) = self.centre, self.extent
        name = set_formula(self.name)
        if self.kind == "neuron":
            return circle(self.centre, RADIUS) + name.centred(x, y)
        place = (x - across, y - down, 2 * across, 2 * down)
        if self.kind == "parameter":
            return box(*place, rx=5) + name.centred(x, y)
        circles = "".join(circle(centre, NEURON) for centre in self.neurons)
        frame = box(*place, rx=9, stroke_width=1, stroke_opacity=0.5)
        at = (x + across + 6 + name.width / 2, y) if self.entered else (x, y + down + 10)
        return frame + circles + name.centred(*at)


def extent(kind: Kind, *, lying: bool = False) -> Point:
    """Return the distances from the centre of such a value to its edges, across and down."""
    across, down = _EXTENTS[kind]
    return (down, across) if lying and kind == "layer" else (across, down)


@dataclass
class Layout:
    """The chain laid out: the spine from left to right, and what enters it from below.

    ``labels`` are drawn at the edges; those of the spine stand over the edges or, ``lifted``, over
    the nodes, where they may be wider; then the edges from below are longer, too. ``tags`` are
    drawn beside some edges: over the label of the spine's, under the value of others. Over the
    values that are ``marked`` there is room for a mark.

    ``label_places`` and ``tag_places`` are where these begin, at half their height. ``width`` and
    ``height`` are the size of the picture without what is written below.
    """

    graph: Graph
    labels: Mapping[Edge, Block]
    tags: Mapping[Edge, Block]
    lifted: bool
    marked: Collection[str] = ()
    nodes: dict[str, Node] = field(default_factory=dict)
    label_places: dict[Edge, Point] = field(default_factory=dict)
    arcs: dict[Edge, tuple[Point, ...]] = field(default_factory=dict)
    bracket: tuple[float, float, float, int] | None = None
    tag_places: dict[Edge, Point] = field(default_factory=dict)
    width: float = 0.0
    height: float = 0.0

    def __post_init__(self) -> None:
        graph, y, x, taken = self.graph, self._spine_height(), 0.0, MARGIN
        for at, value in enumerate(graph.spine):
            across, _ = extent(graph.kind(value))
            start = x + self._step(at) if at else MARGIN + max(across, 20.0)
            left, right = self._room(value)
            x = max(start, taken + left)
            taken = x + right + APART_TAGS if right else taken
            self.nodes[value] = Node(graph.symbol(value), graph.kind(value), (x, y))
            for edge in graph.entering(value, along=True):
                self._place_over(edge, (self.nodes[edge.source].centre[0] + x) / 2, y)
            for edge, offset in self._offsets(value).items():
                self._place_below(edge, offset)
        self._place_above()
        ends = [node.centre[0] + node.extent[0] for node in self.nodes.values()]
        ends += [x + self.labels[edge].width for edge, (x, _) in self.label_places.items()]
        feet = [node.bottom for node in self.nodes.values()]
        for edge, (left, middle) in self.tag_places.items():
            ends.append(left + self.tags[edge].width)
            feet.append(middle + self.tags[edge].height / 2)
        self.width, self.height = max(ends) + MARGIN, max(feet) + MARGIN

    def _place_over(self, edge: Edge, middle: float, spine_y: float) -> None:
        """Place the label of an edge of the spine, and its tag over it."""
        label, top = self.labels[edge], spine_y - self._clearance(edge)
        self.label_places[edge] = (middle - label.width / 2, top - label.height / 2)
        if tag := self.tags.get(edge):
            foot = top - label.height - TAG_GAP
            self.tag_places[edge] = (middle - tag.width / 2, foot - tag.height / 2)

    def _place_below(self, edge: Edge, offset: float) -> None:
        """Place a value that enters from below, its edge's label, and its tag under it."""
        target, kind = self.nodes[edge.target], self.graph.kind(edge.source)
        (x, y), label = target.centre, self.labels[edge]
        foot = target.bottom if target.lying else y + target.extent[1]
        length = LONG_EDGE if self.lifted else EDGE
        _, down = extent(kind, lying=True)
        centre = (x + offset, foot + length + down)
        deeper = self._offsets(edge.source)
        node = Node(self.graph.symbol(edge.source), kind, centre, True, bool(deeper))
        self.nodes[edge.source] = node
        beside = self._beside(edge, offset)
        left = x + beside if offset > 0 else x - beside - label.width
        self.label_places[edge] = (left, foot + length * LABEL_AT)
        if tag := self.tags.get(edge):
            middle = node.bottom + TAG_GAP + tag.height / 2
            self.tag_places[edge] = (centre[0] - tag.width / 2, middle)
        for each, side in deeper.items():
            self._place_below(each, side)

    def _place_above(self) -> None:
        """Place the edges that skip values of the spine, and the bracket over a repeat."""
        y = self.nodes[self.graph.spine[0]].centre[1]
        top = y - self._spine_height() + MARGIN
        if self.graph.repeat:
            first, last, count = self.graph.repeat
            one, other = self.nodes[first], self.nodes[last]
            ends = (one.centre[0] - one.extent[0] - 8, other.centre[0] + other.extent[0] + 8)
            self.bracket = (*ends, top + BRACKET - 8, count)
        top += BRACKET * bool(self.graph.repeat)
        for at, edge in enumerate(self.graph.skips):
            (x, _), (to, _) = self.nodes[edge.source].centre, self.nodes[edge.target].centre
            over = top + ARC * (at + 1) - ARC / 2
            start, end = (y - self.nodes[each].extent[1] for each in (edge.source, edge.target))
            self.arcs[edge] = ((x + 4, start), (x + 4, over), (to - 4, over), (to - 4, end - 2))
            self.label_places[edge] = ((x + to - self.labels[edge].width) / 2, over)

    def _offsets(self, value: str) -> dict[Edge, float]:
        """Return how far to the right of the value each of its leaves stands."""
        leaves = self.graph.entering(value, along=False)
        apart = 84.0 if len(leaves) == 2 else 60.0
        if len(leaves) == 3:
            apart = max(apart, (self.labels[leaves[1]].width + 12) / LABEL_AT)
        for one, other in pairwise(leaves):
            if one in self.tags and other in self.tags:
                halves = (self.tags[one].width + self.tags[other].width) / 2
                apart = max(apart, halves + APART_TAGS)
            rooms = self._room(one.source)[1], self._room(other.source)[0]
            if any(rooms):
                apart = max(apart, sum(rooms) + 2 * APART_TAGS)
        return {edge: (at - (len(leaves) - 1) / 2) * apart for at, edge in enumerate(leaves)}

    def _beside(self, edge: Edge, offset: float) -> float:
        """Return how far from its target the label of an edge from below begins."""
        kind = self.graph.kind(edge.source)
        across, _ = extent(kind, lying=True)
        return 7 + abs(offset) * 0.85 + (across * 0.6 if kind == "layer" else 0.0)

    def _room(self, value: str) -> Point:
        """Return the room to the left and to the right that the leaves of the value need."""
        left = right = 0.0
        for edge, offset in self._offsets(value).items():
            across, _ = extent(self.graph.kind(edge.source), lying=True)
            tag = self.tags[edge].width / 2 if edge in self.tags else 0.0
            inner = [max(across, tag, each) for each in self._room(edge.source)]
            label = self._beside(edge, offset) + self.labels[edge].width
            left = max(left, inner[0] - offset, label if offset <= 0 else 0.0)
            right = max(right, inner[1] + offset, label if offset > 0 else 0.0)
        return left, right

    def _step(self, at: int) -> float:
        """Return the distance from one value of the spine to the next."""
        graph = self.graph
        value, before = graph.spine[at], graph.spine[at - 1]
        ends = extent(graph.kind(value))[0] + extent(graph.kind(before))[0] + 12
        along = graph.entering(value, along=True)
        labels = [self.labels[edge].width for edge in along]
        tags = [self.tags[edge].width + APART_TAGS for edge in along if edge in self.tags]
        return max(
            LEAST_COLUMN,
            max(labels, default=0.0) + (20.0 if self.lifted else ends),
            *tags,
        )

    def _spine_height(self) -> float:
        """Return the distance from the top of the picture to the spine."""
        above = [
            extent(self.graph.kind(value))[1] + MARK * (value in self.marked)
            for value in self.graph.spine
        ]
        for value in self.graph.spine:
            for edge in self.graph.entering(value, along=True):
                tag = self.tags[edge].height + TAG_GAP if edge in self.tags else 0.0
                above.append(self._clearance(edge) + self.labels[edge].height + tag)
        room = ARC * len(self.graph.skips) + BRACKET * bool(self.graph.repeat)
        return max(above) + MARGIN + room

    def _clearance(self, edge: Edge) -> float:
        """Return the distance from the spine to an edge's label."""
        ends = [self.graph.kind(edge.source), self.graph.kind(edge.target)]
        if self.lifted:
            return max(extent(kind)[1] for kind in ends) + 3
        return APART + 5 if "layer" in ends else 6.0
