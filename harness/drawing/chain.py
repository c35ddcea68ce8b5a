"""The chain from the inputs to the cost, as the course draws it: values, and edges between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING

from harness.course.report import Check, Diagnosis, Outcome, Report
from harness.drawing.expressions import local_derivative
from harness.drawing.graph import LETTERS, Edge, Graph, graph_of
from harness.drawing.layout import FRAME, NEURON, RADIUS, Layout, Node
from harness.drawing.listing import list_picture
from harness.drawing.marks import LOOKS, PLAIN, Style
from harness.drawing.mathematics import Block, derivative, row, set_formula, summation
from harness.drawing.svg import Picture, Point, arrow, caption, line, picture, towards
from harness.drawing.upstream import crossed_g, is_right_without, lacks_upstream, upstream_mark
from harness.drawing.widths import sans_width
from harness.drawing.written import written_tag
from harness.expressions.notation import BEHAVES, Formula, as_written, plain, upright
from harness.language import tr

if TYPE_CHECKING:
    from harness.course.assignment import Assignment
    from harness.course.stage import Stage

__all__ = ["Picture", "chain_picture"]

NOTE = 24.0
WIDEST = 1000.0
NOTHING = Block(0, 0, lambda x, middle: "")
SUM = 48.0


def chain_picture(
    assignment: Assignment, report: Report | None = None, *, derivatives: bool = False
) -> Picture:
    """Draw the assignment's network, every edge with its local derivative as a symbol.

    With a report, every edge that it judges is marked right, wrong, an error or not yet, and a
    wrong one shows the formula that the student wrote, if the report tells it. ``derivatives``
    writes out the local derivatives and, for layers, the sums of the chain rule. It cannot be
    combined with a report, which must not give away what a student has to find. What has no chain,
    or none that can be drawn well, is a list of stages. Raise ValueError if both are given.
    """
    if report and derivatives:
        raise ValueError("derivatives cannot be combined with a report")
    if (graph := graph_of(assignment.network)) is None:
        return list_picture(assignment, report, derivatives=derivatives)
    found = {check.id: check for check in report.checks} if report else {}
    checks = {edge: found[edge.check] for edge in graph.edges if edge.check in found}
    known = {
        edge: check.diagnosis
        for edge, check in checks.items()
        if edge.stage and check.outcome == "failed" and check.diagnosis
        if _tells(edge.stage, check, check.diagnosis)
    }
    written = {
        edge: as_written(edge.stage, each.formula) for edge, each in known.items() if edge.stage
    }
    lacking = [
        edge for edge, each in known.items() if edge.stage and lacks_upstream(edge.stage, each)
    ]
    # Where g is all that is missing, the local derivative is right.
    outcomes = {
        edge: check.outcome
        for edge, check in checks.items()
        if edge not in lacking or not is_right_without(known[edge])
    }
    labels = {
        edge: _judged_label(graph, edge, outcomes.get(edge))
        if report
        else _label(graph, edge, derivatives=derivatives)
        for edge in graph.edges
    }
    tags = {edge: written_tag(formula, f"∂C/∂{edge.input}") for edge, formula in written.items()}
    layout = Layout(graph, labels, tags, lifted=derivatives, marked={x.target for x in lacking})
    if layout.width > WIDEST:
        return list_picture(assignment, report, derivatives=derivatives)
    skips = layout.arcs
    body = [
        drawn_edge(layout, edge, _style(outcomes.get(edge)))
        for edge in graph.edges
        if edge not in skips
    ]
    body += [_drawn_skip(path, _style(outcomes.get(edge))) for edge, path in skips.items()]
    body += [_drawn_repeat(*layout.bracket)] if layout.bracket else []
    body += [labels[edge].draw(*layout.label_places[edge]) for edge in graph.edges]
    body += [tag.draw(*layout.tag_places[edge]) for edge, tag in tags.items()]
    body += [node.draw() for node in layout.nodes.values()]
    body += [upstream_mark(layout.nodes[each]) for each in layout.marked]
    judged = [*_judged(graph, outcomes, written, lacking)]
    notes, height = _notes(layout, outcomes, lacking, derivatives=derivatives)
    return picture(
        body + notes,
        layout.width,
        height,
        title=_title(assignment, graph, outcomes, lacking),
        description=" ".join([*_leads(graph), *judged]),
        line=" ".join([f"{' → '.join(graph.names[each] for each in graph.spine)}.", *judged]),
    )


def _tells(stage: Stage, check: Check, diagnosis: Diagnosis) -> bool:
    """Return whether the message, which depends on the level of feedback, has the formula."""
    if diagnosis.formula == "None":
        return diagnosis.hint in check.message
    return tr(BEHAVES).format(plain(as_written(stage, diagnosis.formula))) in check.message


def _judged_label(graph: Graph, edge: Edge, outcome: Outcome | None) -> Block:
    """Return the local derivative, for layers under the sum that the gradient takes over it."""
    if not edge.has_gradient:
        return NOTHING
    signs = [] if edge.is_optional else [*_summations(graph, edge)]
    marks = [LOOKS[outcome].mark] if outcome else []
    return row(*signs, local_symbol(graph, edge, indexed=True), *marks)


def _label(graph: Graph, edge: Edge, *, derivatives: bool) -> Block:
    if not edge.has_gradient:
        return NOTHING
    blocks = [local_symbol(graph, edge, indexed=derivatives)]
    if derivatives and (expression := _expression(edge)):
        names = {
            each.input: graph.symbol(each.source, indexed=True)
            for each in graph.edges
            if each.target == edge.target
        }
        if edge.stage:
            names[edge.stage.output] = graph.symbol(edge.target, indexed=True)
        if right_side := local_derivative(expression, names):
            blocks += [set_formula(upright("=")), set_formula(right_side)]
    return row(*blocks)


def _expression(edge: Edge) -> str:
    """Return the declared gradient along an edge, "" if there is none or None is right."""
    if edge.stage is None or edge.is_optional:
        return ""
    return edge.stage.gradients.get(edge.input, "")


def _summations(graph: Graph, edge: Edge) -> Iterator[Block]:
    """Yield a sum sign for each dimension over which the gradient of the edge's source adds up."""
    for dimension in graph.summed(edge):
        index = LETTERS[0] if dimension == graph.samples else graph.indices.get(dimension, "")
        if index:
            yield summation(index)


def local_symbol(graph: Graph, edge: Edge, *, indexed: bool = False) -> Block:
    """Return the local derivative of an edge as a symbol."""
    return derivative(
        graph.symbol(edge.target, indexed=indexed), graph.symbol(edge.source, indexed=indexed)
    )


def drawn_edge(layout: Layout, edge: Edge, style: Style) -> str:
    """Draw an edge at its place: one arrow, or a line for each pair of neurons."""
    source, target = layout.nodes[edge.source], layout.nodes[edge.target]
    if source.kind != "layer" or (source.lying and target.kind == "layer"):
        start, end = _joint(source, target)
        return arrow(start, end, **style)
    dimensions = layout.graph.dimensions
    pairs: Iterable[tuple[Point, Point]] = product(source.neurons, target.neurons)
    if dimensions[edge.source] == dimensions[edge.target]:
        pairs = zip(source.neurons, target.neurons, strict=True)
    thin = {**style, "stroke_width": float(style["stroke_width"]) * 0.6}
    radius = NEURON if target.kind == "layer" else RADIUS
    return "".join(
        line(towards(one, two, NEURON), towards(two, one, radius), **thin) for one, two in pairs
    )


def _style(outcome: Outcome | None) -> Style:
    return LOOKS[outcome].line if outcome else PLAIN


def _drawn_skip(path: Sequence[Point], style: Style) -> str:
    *corners, last, end = path
    lines = (line(one, other, **style) for one, other in pairwise((*corners, last)))
    return "".join(lines) + arrow(last, end, **style)


def _drawn_repeat(left: float, right: float, y: float, count: int) -> str:
    """Return a bracket over a part of the chain, and how often that comes."""
    ends = ((left, y + 6), (left, y), (right, y), (right, y + 6))
    drawn = "".join(line(one, other, stroke_width=1) for one, other in pairwise(ends))
    return drawn + caption((left + right) / 2, y - 4, f"{count} times", text_anchor="middle")


def _joint(source: Node, target: Node) -> tuple[Point, Point]:
    """Return the ends of a single arrow: at the circles, or at the frame of a layer."""
    (x, y), (across, down) = target.centre, target.extent
    aim, gap = target.centre, RADIUS + 2
    if target.kind == "layer" and source.centre[1] == y:
        aim, gap = (x - across, y), 2
    elif target.kind == "layer":
        shift = max(-across + FRAME, min(across - FRAME, source.centre[0] - x))
        aim, gap = (x + shift, y + down), 2
    start = towards(source.centre, aim, source.extent[1])
    return start, towards(aim, source.centre, gap)


def _notes(
    layout: Layout,
    outcomes: Mapping[Edge, Outcome],
    lacking: Sequence[Edge],
    *,
    derivatives: bool,
) -> tuple[list[str], float]:
    """Return what stands below the chain, and the height of the whole picture."""
    middle, bottom = layout.height + NOTE / 2, layout.height + NOTE
    if outcomes or lacking:
        return [*_legend(outcomes, lacking, middle)], bottom
    sums = _sums(layout.graph) if derivatives else {}
    notes = [*_directions(layout.width, middle), *_drawn_sums(layout.graph, sums, bottom)]
    return notes, bottom + len(sums) * SUM + (NOTE if sums else 0)


def _legend(outcomes: Mapping[Edge, Outcome], lacking: Sequence[Edge], y: float) -> Iterator[str]:
    x = 8.0
    words = {look.word: look.mark for each, look in LOOKS.items() if each in outcomes.values()}
    if lacking:
        words[tr("g, the upstream, is missing")] = crossed_g()
    for word, mark in words.items():
        yield mark.draw(x, y) + caption(x + mark.width + 6, y + 4.5, word)
        x += mark.width + 6 + sans_width(word, 13) + 22


def _directions(width: float, y: float) -> Iterator[str]:
    half = width / 2
    yield caption(8, y + 4, tr("forward: values"))
    yield arrow((16 + sans_width(tr("forward: values"), 13), y), (half - 12, y), stroke_width=1)
    yield caption(width - 8, y + 4, tr("backward: gradients"), text_anchor="end")
    start = width - 16 - sans_width(tr("backward: gradients"), 13)
    yield arrow((start, y), (half + 12, y), stroke_width=1, stroke_dasharray="4 3")


def _drawn_sums(graph: Graph, sums: Mapping[Edge, Block], top: float) -> Iterator[str]:
    """Yield the chain rule for every gradient that is a sum, in mathematics and in torch."""
    if not sums:
        return
    column = max(block.width for block in sums.values()) + 28
    for at, (edge, block) in enumerate(sums.items()):
        middle = top + (at + 0.5) * SUM
        code = _expression(edge)
        yield block.draw(8, middle)
        yield caption(column, middle + 5, code, font_family="monospace", font_size=14)
    there = tr("in torch, with g = ∂{cost}/∂{target}").format(
        cost=graph.names[graph.spine[-1]], target=next(iter(sums)).target
    )
    yield caption(8, top + len(sums) * SUM + 14, tr("On the right {there}").format(there=there))


def _sums(graph: Graph) -> dict[Edge, Block]:
    cost = graph.symbol(graph.spine[-1])
    made = {}
    for edge in graph.edges:
        signs = [*_summations(graph, edge)]
        if not signs or not _expression(edge):
            continue
        source, target = (graph.symbol(each, indexed=True) for each in (edge.source, edge.target))
        made[edge] = row(
            derivative(cost, source),
            set_formula(upright("=")),
            *signs,
            local_symbol(graph, edge, indexed=True),
            derivative(cost, target),
        )
    return made


def _title(
    assignment: Assignment,
    graph: Graph,
    outcomes: Mapping[Edge, Outcome],
    lacking: Sequence[Edge],
) -> str:
    title = tr("{title}: the chain from the inputs to the cost").format(title=assignment.title)
    bad = [_name(graph, edge) for edge, outcome in outcomes.items() if outcome == "failed"]
    said = [f"{', '.join(bad)} {'is' if len(bad) == 1 else 'are'} wrong"] if bad else []
    if lacking:
        those = ", ".join(f"∂C/∂{edge.input}" for edge in lacking)
        said.append(tr("the upstream is missing in {those}").format(those=those))
    return (
        tr("{title}, in which {said}").format(title=title, said=" and ".join(said))
        if said
        else title
    )


def _name(graph: Graph, edge: Edge) -> str:
    return f"∂{graph.names[edge.target]}/∂{edge.source}"


def _leads(graph: Graph) -> Iterator[str]:
    for value in graph.spine[1:]:
        sources = [edge.source for edge in graph.edges if edge.target == value]
        leads = "leads" if len(sources) == 1 else "lead"
        yield f"{' and '.join(sources)} {leads} to {graph.names[value]}."


def _judged(
    graph: Graph,
    outcomes: Mapping[Edge, Outcome],
    written: Mapping[Edge, Formula],
    lacking: Sequence[Edge],
) -> Iterator[str]:
    for edge, outcome in outcomes.items():
        yield f"{_name(graph, edge)}: {LOOKS[outcome].word}."
    for edge, formula in written.items():
        yield f"Your ∂C/∂{edge.input} {tr(BEHAVES).format(plain(formula))}"
    cost = graph.names[graph.spine[-1]]
    for edge in lacking:
        yield tr("g, which is ∂{cost}/∂{target}, is missing in your ∂C/∂{input}.").format(
            cost=cost, target=edge.target, input=edge.input
        )
