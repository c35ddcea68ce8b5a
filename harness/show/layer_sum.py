"""A neuron that feeds several others: what each sends back, and the sum of it."""

from __future__ import annotations

from harness.formulas.notation import Formula, Piece, symbol, upright
from harness.show.mathematics import Block, derivative, row, set_formula, summation
from harness.show.svg import Picture, Point, arrow, circle, line, picture, towards, words

HIDDEN: Point = (46.0, 120.0)
OUTPUTS: tuple[Point, ...] = ((208.0, 40.0), (208.0, 120.0), (208.0, 200.0))
HIDDEN_RADIUS, RADIUS = 34.0, 21.0
COST = symbol("C₀")


def layer_sum_picture() -> Picture:
    """A hidden neuron that feeds three others: each sends its share of the gradient back."""
    source = symbol("a_prev", "k")
    drawn = [circle(HIDDEN, HIDDEN_RADIUS), _centred(set_formula(source), HIDDEN)]
    for number, centre in enumerate(OUTPUTS):
        target = _numbered("z", str(number))
        drawn += [circle(centre, RADIUS), _centred(set_formula(target), centre)]
        drawn.append(_there_and_back(centre))
        drawn.append(_share(target, source).draw(centre[0] + RADIUS + 14, centre[1]))
    whole = row(
        derivative(COST, source),
        set_formula(upright("=")),
        summation("j"),
        _share(_numbered("z", "j", leans=True), source),
    )
    drawn += [whole.draw(8, 268), *_key(316)]
    return picture(
        "".join(drawn),
        360,
        330,
        title="What several neurons send back to one neuron adds up",
        description="The hidden neuron a_prev,k feeds z₀, z₁ and z₂. Each sends back "
        "∂z/∂a_prev,k times ∂C₀/∂z; the gradient ∂C₀/∂a_prev,k is the sum of the three.",
    )


def _numbered(name: str, index: str, *, leans: bool = False) -> Formula:
    return (*symbol(name), Piece(index, leans=leans, place="below"))


def _share(target: Formula, source: Formula) -> Block:
    return row(derivative(target, source), derivative(COST, target))


def _there_and_back(centre: Point) -> str:
    """The value's way forward, thin, and the gradient's way back, thick and dashed."""
    forth, back = (towards(centre, HIDDEN, RADIUS + 3), towards(HIDDEN, centre, HIDDEN_RADIUS + 3))
    upper = arrow((back[0], back[1] - 5), (forth[0], forth[1] - 5), stroke_width=1)
    lower = arrow(
        (forth[0], forth[1] + 5), (back[0], back[1] + 5), stroke_width=2.5, stroke_dasharray="7 4"
    )
    return upper + lower


def _key(y: float) -> list[str]:
    return [
        line((8, y), (36, y), stroke_width=1),
        words(42, y + 4, "forward: the value"),
        line((172, y), (198, y), stroke_width=2.5, stroke_dasharray="7 4"),
        words(204, y + 4, "backward: the shares"),
    ]


def _centred(block: Block, centre: Point) -> str:
    return block.draw(centre[0] - block.width / 2, centre[1])
