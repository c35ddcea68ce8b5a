"""The chain from the inputs to the cost, as the course draws it: values, and edges between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import TYPE_CHECKING

from harness.course.report import Check, Diagnosis, Outcome, Report
from harness.formulas.notation import BEHAVES, Formula, as_written, plain, upright
from harness.show.expressions import local_derivative
from harness.show.graph import INDICES, SAMPLES, Edge, Graph, graph_of
from harness.show.layout import FRAME, NEURON, RADIUS, Layout, Node, lay_out
from harness.show.marks import WORDS, edge_style, mark
from harness.show.mathematics import Block, derivative, row, set_formula, summation
from harness.show.svg import Picture, Point, arrow, line, picture, towards, words
from harness.show.written import written_tag

if TYPE_CHECKING:
    from harness.course.assignment import Assignment

__all__ = ["Picture", "chain_picture"]

NOTE = 24.0
SUM = 48.0


def chain_picture(
    assignment: Assignment, report: Report | None = None, *, derivatives: bool = False
) -> Picture:
    """The assignment's chain, each edge with its local derivative as a symbol.

    With a report, each edge that it judges is marked right, wrong, an error or not yet, and beside
    a wrong one stands the formula that the student wrote, where the report tells one.
    ``derivatives`` writes out what each local derivative is, and for layers the sums of the chain
    rule; a report is never shown together with what a student has to find. Raises ValueError
    where both are asked for, or where the assignment has no chain.
    """
    if report and derivatives:
        raise ValueError("a picture with a report does not write the derivatives out")
    graph = graph_of(assignment)
    checks = _checks(graph, report)
    outcomes = {edge: check.outcome for edge, check in checks.items()}
    written = _written(checks)
    labels = {
        edge: _judged_label(graph, edge, outcomes.get(edge))
        if report
        else _label(graph, edge, derivatives=derivatives)
        for edge in graph.edges
    }
    tags = {edge: written_tag(formula, f"∂C/∂{edge.input}") for edge, formula in written.items()}
    layout = lay_out(graph, labels, tags, lifted=derivatives)
    body = [_drawn_edge(graph, layout, edge, outcomes.get(edge)) for edge in graph.edges]
    body += [labels[edge].draw(*layout.labels[edge]) for edge in graph.edges]
    body += [tag.draw(*layout.tags[edge]) for edge, tag in tags.items()]
    body += [node.draw() for node in layout.nodes.values()]
    notes, height = _notes(graph, layout, outcomes, derivatives=derivatives)
    return picture(
        "".join(body) + notes,
        layout.width,
        height,
        title=_title(assignment, graph, outcomes),
        description=_description(graph, outcomes, written),
    )


def _checks(graph: Graph, report: Report | None) -> dict[Edge, Check]:
    found = {check.id: check for check in report.checks} if report else {}
    return {edge: found[edge.check] for edge in graph.edges if edge.check in found}


def _written(checks: Mapping[Edge, Check]) -> dict[Edge, Formula]:
    """What the student wrote for the gradient along each wrong edge, where the message tells it."""
    return {
        edge: as_written(edge.stage, check.diagnosis.formula)
        for edge, check in checks.items()
        if check.outcome == "failed" and check.diagnosis and _tells(edge, check, check.diagnosis)
    }


def _tells(edge: Edge, check: Check, diagnosis: Diagnosis) -> bool:
    """Whether the message holds the formula: it is written for the level of feedback."""
    if diagnosis.formula == "None":
        return diagnosis.hint in check.message
    return BEHAVES.format(plain(as_written(edge.stage, diagnosis.formula))) in check.message


def _judged_label(graph: Graph, edge: Edge, outcome: Outcome | None) -> Block:
    """The local derivative, of layers with the sum that the gradient takes over it."""
    signs = [] if edge.input in edge.stage.optional else [*_summations(graph, edge)]
    marks = [mark(outcome)] if outcome else []
    return row(*signs, _local(graph, edge, indexed=True), *marks)


def _label(graph: Graph, edge: Edge, *, derivatives: bool) -> Block:
    blocks = [_local(graph, edge, indexed=derivatives)]
    if derivatives and edge.input not in edge.stage.optional:
        names = {
            each.input: graph.symbol(each.source, indexed=True)
            for each in graph.edges
            if each.target == edge.target
        }
        names[edge.stage.output] = graph.symbol(edge.target, indexed=True)
        right_side = local_derivative(edge.stage.gradients[edge.input], names)
        if right_side:
            blocks += [set_formula(upright("=")), set_formula(right_side)]
    return row(*blocks)


def _summations(graph: Graph, edge: Edge) -> Iterator[Block]:
    """A sum sign for each dimension over which the gradient of the edge's source adds up."""
    for dimension in graph.summed(edge):
        index = INDICES.get(dimension, "n" if dimension == SAMPLES else "")
        if index:
            yield summation(index)


def _local(graph: Graph, edge: Edge, *, indexed: bool) -> Block:
    return derivative(
        graph.symbol(edge.target, indexed=indexed), graph.symbol(edge.source, indexed=indexed)
    )


def _drawn_edge(graph: Graph, layout: Layout, edge: Edge, outcome: Outcome | None) -> str:
    source, target = layout.nodes[edge.source], layout.nodes[edge.target]
    style = edge_style(outcome)
    if source.kind != "layer":
        start, end = _joint(source, target)
        return arrow(start, end, **style)
    same = graph.dimensions[edge.source] == graph.dimensions[edge.target]
    pairs = zip(source.neurons, target.neurons, strict=True) if same else None
    thin = {**style, "stroke_width": float(style["stroke_width"]) * 0.6}
    return "".join(
        line(
            towards(one, two, NEURON),
            towards(two, one, NEURON if target.kind == "layer" else RADIUS),
            **thin,
        )
        for one, two in pairs or product(source.neurons, target.neurons)
    )


def _joint(source: Node, target: Node) -> tuple[Point, Point]:
    """The ends of a single arrow: at the circles, or at the frame of a layer."""
    (x, y), (across, down) = target.centre, target.reach
    aim = target.centre
    if target.kind == "layer":
        shift = max(-across + FRAME, min(across - FRAME, source.centre[0] - x))
        aim = (x + shift, y + down)
    reach = source.reach[1]
    return towards(source.centre, aim, reach), towards(
        aim, source.centre, 2 if target.kind == "layer" else RADIUS + 2
    )


def _notes(
    graph: Graph, layout: Layout, outcomes: Mapping[Edge, Outcome], *, derivatives: bool
) -> tuple[str, float]:
    """What stands below the chain, and the height of the whole picture."""
    if outcomes:
        shown = [outcome for outcome in WORDS if outcome in outcomes.values()]
        return _legend(shown, layout.height + NOTE / 2), layout.height + NOTE
    directions = _directions(layout.width, layout.height + NOTE / 2)
    if not derivatives:
        return directions, layout.height + NOTE
    sums, height = _drawn_sums(graph, layout.height + NOTE)
    return directions + sums, height


def _legend(shown: list[Outcome], y: float) -> str:
    x, drawn = 8.0, []
    for outcome in shown:
        drawn.append(mark(outcome).draw(x, y) + words(x + 20, y + 4.5, WORDS[outcome]))
        x += 20 + 7 * len(WORDS[outcome]) + 22
    return "".join(drawn)


def _directions(width: float, y: float) -> str:
    half = width / 2
    return (
        words(8, y + 4, "forward: values")
        + arrow((104, y), (half - 12, y), stroke_width=1)
        + words(width - 8, y + 4, "backward: gradients", text_anchor="end")
        + arrow((width - 134, y), (half + 12, y), stroke_width=1, stroke_dasharray="4 3")
    )


def _drawn_sums(graph: Graph, top: float) -> tuple[str, float]:
    """The chain rule for each gradient that adds up contributions, in mathematics and in torch."""
    sums = _sums(graph)
    column = max((block.width for block in sums.values()), default=0.0) + 28
    drawn = []
    for at, (edge, block) in enumerate(sums.items()):
        middle = top + (at + 0.5) * SUM
        code = edge.stage.gradients[edge.input]
        drawn.append(block.draw(8, middle))
        drawn.append(words(column, middle + 5, code, font_family="monospace", font_size=14))
    if sums:
        there = f"in torch, with g = ∂{graph.names[graph.spine[-1]]}/∂{next(iter(sums)).target}"
        drawn.append(words(8, top + len(sums) * SUM + 14, f"On the right {there}"))
    return "".join(drawn), top + len(sums) * SUM + (NOTE if sums else 0)


def _sums(graph: Graph) -> dict[Edge, Block]:
    cost = graph.symbol(graph.spine[-1])
    made = {}
    for edge in graph.edges:
        signs = [*_summations(graph, edge)]
        if not signs or edge.input in edge.stage.optional:
            continue
        source, target = (graph.symbol(each, indexed=True) for each in (edge.source, edge.target))
        made[edge] = row(
            derivative(cost, source),
            set_formula(upright("=")),
            *signs,
            _local(graph, edge, indexed=True),
            derivative(cost, target),
        )
    return made


def _title(assignment: Assignment, graph: Graph, outcomes: Mapping[Edge, Outcome]) -> str:
    bad = [_name(graph, edge) for edge, outcome in outcomes.items() if outcome == "failed"]
    if not bad:
        return f"{assignment.title}: the chain from the inputs to the cost"
    wrong = f"{', '.join(bad)} {'is' if len(bad) == 1 else 'are'} wrong"
    return f"{assignment.title}: the chain from the inputs to the cost, in which {wrong}"


def _name(graph: Graph, edge: Edge) -> str:
    return f"∂{graph.names[edge.target]}/∂{edge.source}"


def _description(
    graph: Graph, outcomes: Mapping[Edge, Outcome], written: Mapping[Edge, Formula]
) -> str:
    steps = []
    for value in graph.spine[1:]:
        sources = [edge.source for edge in graph.edges if edge.target == value]
        leads = "leads" if len(sources) == 1 else "lead"
        steps.append(f"{' and '.join(sources)} {leads} to {graph.names[value]}.")
    said = [f"{_name(graph, edge)}: {WORDS[outcome]}." for edge, outcome in outcomes.items()]
    said += [
        f"Your ∂C/∂{edge.input} {BEHAVES.format(plain(formula))}"
        for edge, formula in written.items()
    ]
    return " ".join(steps + said)
