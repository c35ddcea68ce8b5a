"""The formulas to try first: the mistakes that teachers know, then neighbours made by rule."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import product

from harness.course.inputs import Given
from harness.course.stage import Stage
from harness.expressions.data import data
from harness.expressions.variants import variants_of, with_upstreams
from harness.mistakes import mistakes_in

# A number, which is simpler than the others; a name; an operator.
_PART = re.compile(r"\d[\d.]*(?:e-?\d+)?|[^\W\d]\w*|\*\*|[^\w\s(),.]")


@dataclass(frozen=True)
class NamedFormula:
    """A wrong formula for one gradient, its mistake's short name, and a question that leads on.

    If the mistake spoils other gradients, ``with_it``, or the ``forward``, it is only meant if
    those are as it says. ``taught`` is whether a catalogue has it, and ``also`` are the names and
    hints of further mistakes that are in the formula, the graver ones first; ``instead`` is another
    mistake that has the same values.
    """

    expression: str
    mistake: str
    hint: str
    taught: bool = False
    with_it: tuple[tuple[str, str], ...] = ()
    forward: str | None = None
    also: tuple[tuple[str, str], ...] = ()
    instead: tuple[str, str] | None = None

    @property
    def is_alone(self) -> bool:
        """True if the mistake is in this gradient only, and is a tensor."""
        return not self.with_it and self.forward is None and self.expression != "None"

    @cached_property
    def cost(self) -> float:
        """The rank among formulas that fit: the least comes first.

        Of a catalogue's mistakes those come first that say most about the rest, then the simplest.
        """
        says = len(self.with_it) + (self.forward is not None)
        parts = _PART.findall(self.expression)
        size = sum(1 if part[0].isdigit() else 2 for part in parts)
        return size - 1000 * says + (0 if self.taught else 10_000)


@lru_cache(maxsize=64)
def known_formulas(stage: Stage, name: str) -> tuple[NamedFormula, ...]:
    """Return formulas for the gradient of input ``name``: named mistakes first, the simplest first.

    Those made by rule may have the value of the true gradient.
    """
    found: dict[tuple[object, ...], NamedFormula] = {}
    made = (NamedFormula(text, slug(how), hint_for(how)) for how, text in _neighbours(stage, name))
    for known in (*_named(stage, name), *made):
        # The same formula may be part of several mistakes, which differ in what else they spoil.
        found.setdefault((known.expression, known.with_it, known.forward), known)
    return tuple(sorted(found.values(), key=lambda known: known.cost))


def _named(stage: Stage, name: str) -> Iterator[NamedFormula]:
    declared = {mistake.name for mistake in stage.mistakes}
    for mistake in mistakes_in(stage):
        if name not in mistake.gradients:
            continue
        others = tuple(item for item in mistake.gradients.items() if item[0] != name)
        # What can be done to the upstream of one gradient can be done to one gradient alone.
        with_it = others if mistake.name in declared else ()
        expression, forward = mistake.gradients[name], mistake.forward
        yield NamedFormula(expression, mistake.name, mistake.hint, True, with_it, forward)


def _neighbours(stage: Stage, name: str) -> Iterator[tuple[str, str]]:
    """Yield how a formula near the true gradient differs from it, and the formula."""
    true, rules = stage.gradients.get(name, ""), data("neighbours")
    quantities = (*stage.quantities, *stage.where)
    for variant in variants_of(stage, name):
        yield variant.how, variant.expression
    for other, expression in stage.gradients.items():
        if other != name:
            yield f"gradient of {other}", expression
    for quantity in quantities:
        if re.search(rf"\b{quantity}\b", true):
            compared = re.search(rf"\b{quantity} [<>]", true)
            for pattern in rules["done_to"]:
                if compared and ">" in pattern:
                    # A condition is not compared again: that would be another constant.
                    continue
                changed = re.sub(rf"\b{quantity}\b", pattern.format(quantity), true)
                yield f"something done to {quantity}", changed
                if back := rules["back_through"].get(pattern):
                    yield f"something done to {quantity} and back", back.format(quantity, changed)
    for name, other in product(stage.where, quantities):
        if re.search(rf"\b{name}\b", true):
            for pattern in rules["instead"]:
                changed = re.sub(rf"\b{name}\b", pattern.format(other), true)
                yield f"{other} for {name}", changed
    for g, quantity, slope in product(stage.upstreams, stage.quantities, rules["slopes"]):
        yield f"another slope at {quantity}", f"{g} * {slope.format(quantity)}"
    if not true:
        return
    for given, each in stage.inputs.items():
        kind = each.kind
        for value in (0, 1, *(kind.choices if isinstance(kind, Given) else ())):
            if each.is_given and not isinstance(value, str):
                yield "another constant", re.sub(rf"\b{given}\b", repr(value), true)
    for how, pattern in rules["shortened"].items():
        yield how, pattern.format(true)
    upstreams = [*rules["upstream"].items()]
    for quantity, (how, wrong) in product(quantities, rules["folded"].items()):
        if not (stage.is_scalar and "sum" in wrong):
            upstreams.append((how.format(quantity), wrong.format(quantity)))
    hows, wrong = zip(*upstreams, strict=True)
    for how, text in zip(hows, with_upstreams(stage, true, wrong), strict=True):
        yield f"upstream {how}", text


def hint_for(how: str) -> str:
    """Return what to ask about a formula that differs from the true gradient in this way."""
    hints: list[dict[str, str]] = data("neighbours")["hints"]
    return next(each["hint"] for each in hints if re.search(each["words"], how))


def slug(text: str) -> str:
    """Return words as a short name."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-").lower()
