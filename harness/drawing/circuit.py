"""A chain of numbers with its values above the nodes and the gradients below, as in a circuit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harness.course.numbers import number
from harness.drawing.chain import NOTHING, drawn_edge, local_symbol
from harness.drawing.graph import Edge, Graph, graph_of
from harness.drawing.layout import RADIUS, Layout, Node
from harness.drawing.marks import PLAIN
from harness.drawing.mathematics import Block, row, set_formula
from harness.drawing.svg import DOWN, UP, Picture, caption, picture
from harness.expressions.notation import upright
from harness.language import tr

if TYPE_CHECKING:
    from harness.course.assignment import Assignment

TODO = {**PLAIN, "stroke_opacity": 0.45}
DONE = {**PLAIN, "stroke_width": 2.5}
RIGHT, FOOT = 24.0, 36.0
APART = Block(10, 0, lambda x, middle: "")


def circuit_picture(
    assignment: Assignment, given: Mapping[str, float], back: int | None = None
) -> Picture:
    """Draw a network of numbers, unfolded, with the values that follow from the ``given`` ones.

    Of the way back, the first ``back`` edges are done (default: all of them): they bear their local
    derivatives, and the values that they lead to bear the gradients of the cost. Raise TypeError
    unless every argument of the network is given, and nothing else; ValueError if the network is
    not one of numbers.
    """
    network = assignment.network
    graph = graph_of(network, fold=False)
    if network is None or graph is None or any(graph.dimensions.values()):
        raise ValueError(tr("values can be drawn on a chain of single numbers only"))
    if {*given} != {*network.arguments}:
        names = ", ".join(network.arguments)
        raise TypeError(tr("give a number for each of {names}").format(names=names))
    values = {x: torch.tensor(float(value), dtype=torch.float64) for x, value in given.items()}
    for value in values.values():
        value.requires_grad_()
    for _, link, stage in network.uses:
        values[link.outputs[0]] = stage.forward(*(values[x] for x in link.inputs))
    slopes = {edge: _slope(values[edge.target], values[edge.source]) for edge in _way_back(graph)}
    done = {edge: slopes[edge] for edge in [*slopes][: len(slopes) if back is None else back]}
    cost = values[graph.spine[-1]]
    felt = {x: _slope(cost, values[x]) for x in (graph.spine[-1], *(e.source for e in done))}
    labels = {
        edge: _label(graph, edge, done.get(edge)) if edge in slopes else NOTHING
        for edge in graph.edges
    }
    layout = Layout(graph, labels, {}, lifted=False)
    body = [
        drawn_edge(layout, edge, DONE if edge in done else TODO if edge in slopes else PLAIN)
        for edge in graph.edges
    ]
    body += [labels[edge].draw(*layout.label_places[edge]) for edge in graph.edges]
    body += [node.draw() for node in layout.nodes.values()]
    for name, node in layout.nodes.items():
        body += _numbers(node, values[name].item(), felt.get(name))
    title = tr("{title}: values above, gradients below").format(title=assignment.title)
    said = [f"{x} = {_short(values[x].item())}" for x in layout.nodes]
    said += [f"∂{graph.names[graph.spine[-1]]}/∂{x} = {_short(slope)}" for x, slope in felt.items()]
    size = layout.width + RIGHT, layout.height + FOOT
    return picture(body, *size, title=title, description="; ".join(said))


def _way_back(graph: Graph) -> Iterator[Edge]:
    """Yield the edges that bear a gradient from the cost down, those of the parameters first."""
    for target in reversed(graph.spine):
        entering = (*graph.entering(target, along=False), *graph.entering(target, along=True))
        yield from (edge for edge in entering if edge.has_gradient and not edge.is_optional)


def _label(graph: Graph, edge: Edge, slope: float | None) -> Block:
    """Return the local derivative as a symbol, with its value where that is known."""
    symbol = local_symbol(graph, edge)
    if slope is None:
        return symbol
    beside = edge.source not in graph.spine
    value = set_formula(upright(f"= {_short(slope)}"))
    return row(symbol, value) if beside else row(APART, symbol, value, APART)


def _short(value: float) -> str:
    return number(round(value, 12), 3)  # what rounding leaves of 0 is 0


def _slope(of: Tensor, to: Tensor) -> float:
    return float(torch.autograd.grad(of, to, retain_graph=True)[0])


def _numbers(node: Node, value: float, felt: float | None) -> Iterator[str]:
    (x, y), (_, down) = node.centre, node.extent
    shown = "" if felt is None else _short(felt)
    colour = {"fill": UP if felt and felt > 0 else DOWN} if felt else {}
    if node.kind == "neuron" and not node.lying:
        yield caption(x, y - down - 6, _short(value), text_anchor="middle")
        yield caption(x + RADIUS + 1, y + 18, shown, font_weight="bold", **colour)
    else:
        yield caption(x, y + down + 16, _short(value), text_anchor="middle")
        yield caption(x, y + down + 33, shown, text_anchor="middle", font_weight="bold", **colour)
