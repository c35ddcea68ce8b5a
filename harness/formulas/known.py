"""The formulas to try first: the mistakes that teachers know, then neighbours made by rule."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from harness.course.stage import Stage
from harness.formulas.variants import variants_of
from harness.mistakes import mistakes_in


@dataclass(frozen=True)
class Known:
    """A wrong formula for one gradient, its mistake's short name, and a question that leads on.

    Where the mistake spoils other gradients, ``with_it``, or the ``forward``, it is only meant if
    those are as it says.
    """

    expression: str
    mistake: str
    hint: str
    named: bool = False
    with_it: tuple[tuple[str, str], ...] = ()
    forward: str | None = None

    @property
    def cost(self) -> float:
        """How far back it stands among formulas that fit: the least comes first.

        Of named mistakes those come first that say most about the rest, then the simplest.
        """
        says = len(self.with_it) + (self.forward is not None)
        size = sum(1 for _ in ast.walk(ast.parse(self.expression)))
        return size - 1000 * says + (0 if self.named else 10_000)


@lru_cache(maxsize=64)
def known_formulas(stage: Stage, name: str) -> tuple[Known, ...]:
    """Formulas for the gradient of input ``name``: named mistakes first, the simplest first.

    Those made by rule may have the value of the true gradient.
    """
    found: dict[tuple[object, ...], Known] = {}
    for known in (*_named(stage, name), *_neighbours(stage, name)):
        # The same formula may be part of several mistakes, told apart by what else they spoil.
        found.setdefault((known.expression, known.with_it, known.forward), known)
    return tuple(sorted(found.values(), key=lambda known: known.cost))


def _named(stage: Stage, name: str) -> Iterator[Known]:
    declared = {mistake.name for mistake in stage.mistakes}
    for mistake in mistakes_in(stage):
        if name not in mistake.gradients:
            continue
        others = tuple(item for item in mistake.gradients.items() if item[0] != name)
        # What can be done to the upstream of one gradient can be done to one gradient alone.
        with_it = others if mistake.name in declared else ()
        expression, forward = mistake.gradients[name], mistake.forward
        yield Known(expression, mistake.name, mistake.hint, True, with_it, forward)


def _neighbours(stage: Stage, name: str) -> Iterator[Known]:
    for variant in variants_of(stage, name):
        yield Known(variant.expression, _slug(variant.how), _hint(variant.how))
    for other, expression in stage.gradients.items():
        if other != name:
            yield Known(expression, f"gradient-of-{_slug(other)}", _hint("gradient of another"))
    for how, expression in (*_substituted(stage, name), *_slopes(stage), *_shortened(stage, name)):
        yield Known(expression, _slug(how), _hint(how))
    for how, wrong in (*UPSTREAM, *_folded(stage)):
        yield Known(
            re.sub(r"\bg\b", wrong, stage.gradients[name]),
            f"upstream-{_slug(how)}",
            _hint(f"upstream {how}"),
        )


# What students add so that nothing is divided by zero.
EPSILONS = ("1e-8", "1e-6", "1e-3")
# Besides those that `harness.mistakes` names.
UPSTREAM = (
    ("halved", "(g / 2)"),
    ("cubed", "(g ** 3)"),
    ("squashed", "tanh(g)"),
    ("through a sigmoid", "sigmoid(g)"),
    ("exponentiated", "exp(g)"),
    ("on or off", "(g != 0).double()"),
    ("on or off by sign", "(g > 0).double()"),
    ("negative only", "g.clamp(max=0)"),
    ("inverted", "(1 / g)"),
    ("plus one", "(g + 1)"),
    ("from one", "(1 - g)"),
    ("squared with its sign", "(g * abs(g))"),
    ("rounded", "g.round()"),
    ("normalised", "(g / g.norm())"),
    ("normalised by its sum", "(g / g.sum())"),
    ("normalised by its largest", "(g / abs(g).max())"),
    ("centred", "(g - g.mean())"),
    ("through a softmax", "softmax(g, -1)"),
    *((f"normalised entry by entry {eps}", f"(g / (abs(g) + {eps}))") for eps in EPSILONS),
    *((f"normalised with {eps}", f"(g / (g.norm() + {eps}))") for eps in EPSILONS),
    ("summed up", "(g.sum() * ones_like(g))"),
    ("averaged", "(g.mean() * ones_like(g))"),
    *((f"clipped at {limit:g}", f"g.clamp(-{limit:g}, {limit:g})") for limit in (0.1, 0.5, 5, 10)),
    *((f"clipped at {limit:g}", f"g.clamp(-{limit:g}, {limit:g})") for limit in (2, 3, 100)),
)


# What students do to a quantity before they take the slope at it.
DONE_TO = (
    "sigmoid({})",
    "tanh({})",
    "relu({})",
    "softmax({}, -1)",
    "softmax({}, 0)",
    "({} > 0.5)",
    "{}.clamp(0, 1)",
    "{}.clamp(-1, 1)",
    "{}.clamp(1e-3, 1 - 1e-3)",
    "{}.mean()",
    "{}.mean(0)",
    "{}.mean(-1, keepdim=True)",
    "({0} - {0}.mean())",
    "({0} - {0}.mean(0))",
    "({0} - {0}.mean(-1, keepdim=True))",
    "({0} / {0}.norm())",
    "({0} / abs({0}).max())",
    "(1 - {})",
)
# Slopes of the functions among them, times what comes from above.
BACK_THROUGH = {
    "sigmoid({})": "({1}) * sigmoid({0}) * (1 - sigmoid({0}))",
    "tanh({})": "({1}) * (1 - tanh({0}) ** 2)",
    "relu({})": "({1}) * ({0} > 0)",
    "softmax({}, -1)": (
        "softmax({0}, -1) * (({1}) - (({1}) * softmax({0}, -1)).sum(-1, keepdim=True))"
    ),
}


def _substituted(stage: Stage, name: str) -> Iterator[tuple[str, str]]:
    """Something done to one quantity of the true gradient first, and its slope folded in too."""
    true = stage.gradients[name]
    for quantity in (*stage.inputs, stage.output):
        if not re.search(rf"\b{quantity}\b", true):
            continue
        for pattern in DONE_TO:
            changed = re.sub(rf"\b{quantity}\b", pattern.format(quantity), true)
            yield f"something done to {quantity}", changed
            if pattern in BACK_THROUGH:
                back = BACK_THROUGH[pattern].format(quantity, changed)
                yield f"something done to {quantity} and back", back


# Slopes of functions that a neuron could have instead.
SLOPES = (
    "(({0} > 0) + 0.01 * ({0} <= 0))",
    "(({0} > 0) + 0.1 * ({0} <= 0))",
    "(({0} > 0) + exp({0}) * ({0} <= 0))",
    "(0.5 * (1 + erf({0} / 2 ** 0.5)) + {0} * exp(-({0} ** 2) / 2) / 6.283185307179586 ** 0.5)",
    "(sigmoid({0}) * (1 + {0} * (1 - sigmoid({0}))))",
    "(sigmoid(1.702 * {0}) * (1 + 1.702 * {0} * (1 - sigmoid(1.702 * {0}))))",
    "(1 / (1 + abs({0})) ** 2)",
    "(0.2 * (abs({0}) < 2.5))",
    "((abs({0}) < 3) / 6)",
    "((abs({0}) < 1) * 1.0)",
    "(-2 * {0} * exp(-({0} ** 2)))",
)


def _slopes(stage: Stage) -> Iterator[tuple[str, str]]:
    for quantity, slope in product((*stage.inputs, stage.output), SLOPES):
        yield f"another slope at {quantity}", f"g * {slope.format(quantity)}"


def _shortened(stage: Stage, name: str) -> Iterator[tuple[str, str]]:
    """The true gradient made shorter, as optimizers do it."""
    true = stage.gradients[name]
    for eps in EPSILONS:
        yield f"normalised with {eps}", f"({true}) / (({true}).norm() + {eps})"
        yield f"normalised entry by entry {eps}", f"({true}) / (abs({true}) + {eps})"
        yield f"normalised by a root {eps}", f"({true}) / sqrt(({true}) ** 2 + {eps})"


def _folded(stage: Stage) -> Iterator[tuple[str, str]]:
    """Another stage's slope folded into g, of a quantity that has its shape."""
    for name in (*stage.inputs, stage.output):
        yield f"times slope of {name}", f"(g * {name} * (1 - {name}))"
        slope = f"sigmoid({name}) * (1 - sigmoid({name}))"
        yield f"times sigmoid slope of {name}", f"(g * {slope})"
        yield f"times tanh slope of {name}", f"(g * (1 - {name} ** 2))"
        yield f"times relu slope of {name}", f"(g * ({name} > 0))"
        if not stage.is_scalar:
            inner = f"(g * {name}).sum(-1, keepdim=True)"
            yield f"times softmax slope of {name}", f"({name} * (g - {inner}))"
        yield f"times {name}", f"(g * {name})"
        yield f"plus {name}", f"(g + {name})"
        yield f"minus {name}", f"(g - {name})"
        yield f"replaced by {name}", name
        yield f"replaced by slope of {name}", f"({name} * (1 - {name}))"


# What to ask about a formula that a rule has made, by the words of the rule. The first one counts.
HINTS = (
    (
        r"^gradient of another",
        (
            "Torch hands out what you return in the order of forward's inputs. Which one "
            "stands where?"
        ),
    ),
    (
        r"^upstream (times|plus|minus|replaced)",
        (
            "g comes from the stage above, and has everything from there to C in it. What "
            "else have you mixed into it?"
        ),
    ),
    (
        r"upstream",
        (
            "Look at how g enters your result: the chain rule takes it as it is, once, and as "
            "a factor."
        ),
    ),
    (
        r" for (sum|mean|amax)$|over |averaged|summed|axis|row|column",
        ("Look at the axes: over which of them do the routes to C add up, and what of the others?"),
    ),
    (
        r"transpose|swapped",
        ("Go through the product factor by factor: which comes first, and what shape has each?"),
    ),
    (
        r"^something done to",
        (
            "The slope is taken at the quantity that the forward pass uses, as it is there. What "
            "has been done to it in your result?"
        ),
    ),
    (
        r"^another slope",
        (
            "Which function does this stage compute, and is what you multiply g with the slope of "
            "that one?"
        ),
    ),
    (
        r"^normalised",
        ("Backward returns a gradient as long as it is. Whose job is it to make it shorter?"),
    ),
    (
        r" for ",
        ("Go through your result name by name. Which of the quantities does the slope depend on?"),
    ),
    (
        r"dropped",
        (
            "Something that the chain rule gives is missing here. Write the rule out in full "
            "and compare."
        ),
    ),
    (
        r"sign",
        ("Move this input up by a little. Does C rise or fall, and what does your sign say?"),
    ),
    (
        r"constant|halved|doubled",
        ("Check the numbers in your result. Where does each of them come from?"),
    ),
    (
        r"squared|absolute",
        ("Check the powers and signs in your result. Is the slope really blind to the sign there?"),
    ),
    (
        r"operator|comparison",
        ("Check how the quantities in your result meet: added, subtracted, multiplied, divided?"),
    ),
    (
        r"times|divided|added",
        ("There is more in your result than the chain rule gives. Whose job is the rest?"),
    ),
)
ELSEWHERE = (
    "Put it next to the derivative that you get on paper, factor by factor. Where do the two part?"
)


def _hint(how: str) -> str:
    return next((hint for words, hint in HINTS if re.search(words, how)), ELSEWHERE)


def _slug(text: str) -> str:
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-").lower()
