"""Mistakes that can be made in any stage: with the upstream gradient, and in manners.

They are made from the stage's own gradients, so that a new stage has them without being asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.course.mistake import Mistake

if TYPE_CHECKING:
    from harness.course.stage import Stage

ALL = ("gradient/*",)
ANY = ("*",)


def mistakes_in(stage: Stage) -> tuple[Mistake, ...]:
    """All mistakes known for a stage: those declared with it, and those of every stage."""
    several = SEVERAL_INPUTS if len(stage.inputs) > 1 else ()
    shaped = () if stage.is_scalar else SHAPED
    names = {mistake.name for mistake in stage.mistakes}
    general = (*_of_upstream(stage), *MANNERS, *several, *shaped)
    return (*stage.mistakes, *(each for each in general if each.name not in names))


def _of_upstream(stage: Stage) -> Iterator[Mistake]:
    for title, wrong, hint in UPSTREAM:
        spoiled = {
            name: re.sub(r"\bg\b", wrong, expression)
            for name, expression in stage.gradients.items()
        }
        changed = {name: text for name, text in spoiled.items() if text != stage.gradients[name]}
        if changed:
            yield Mistake(title, changed, hint=hint)


# A name, what stands where g belongs, and the hint.
UPSTREAM = (
    (
        "upstream-missing",
        "ones_like(g)",
        (
            "You have found how this stage alone responds. But C feels it only through the stages "
            "above: where does what they found out, g, come in?"
        ),
    ),
    (
        "upstream-squared",
        "(g ** 2)",
        (
            "Count how often g enters your result. The chain rule takes one factor from each "
            "stage; has this one taken it twice?"
        ),
    ),
    (
        "upstream-absolute",
        "abs(g)",
        (
            "Try your formula with a negative g. If C falls where this stage's output rises, "
            "should the result look the same as if it rose?"
        ),
    ),
    (
        "upstream-sign-only",
        "sign(g)",
        (
            "Your result knows the direction of g and not its size. Should a C that feels the "
            "output a thousand times as much not show?"
        ),
    ),
    (
        "upstream-clipped",
        "g.clamp(-1, 1)",
        (
            "Try your formula with g = 3 and with g = 30. Keeping steps small is a matter for "
            "training; is it also a matter for the derivative?"
        ),
    ),
    (
        "upstream-positive-only",
        "g.clamp(min=0)",
        (
            "What does your formula give for a negative g? The upstream gradient says which way C "
            "goes, and either way is news."
        ),
    ),
)


def _backward(*lines: str) -> str:
    return _function("backward(ctx, g)", *lines)


def _forward(*lines: str) -> str:
    return _function("forward(ctx, *inputs)", *lines)


def _function(head: str, *lines: str) -> str:
    body = "".join(f"    {line}\n" for line in lines)
    return f"@staticmethod\ndef {head}:\n{body}"


MANNERS = (
    Mistake(
        "float32-inside",
        code=_backward(
            "values = Right.backward(ctx, g.float().double())",
            "return tuple(value.float().double() for value in values)",
        ),
        hint="The formula is right, and half of the digits are gone. What changes the dtype on "
        "the way through your backward?",
        rejected_by=("precision",),
    ),
    Mistake(
        "float32-returned",
        code=_backward("return tuple(value.float() for value in Right.backward(ctx, g))"),
        hint="What came in has about 16 digits, what you return has 7. Compare the dtype of the "
        "two.",
        rejected_by=("precision",),
    ),
    Mistake(
        "float16-inside",
        code=_backward("return tuple(value.half().double() for value in Right.backward(ctx, g))"),
        hint="Your result agrees to three digits only. Which dtype do you compute in, and which "
        "did the inputs have?",
        rejected_by=ALL,
    ),
    Mistake(
        "forward-in-float32",
        code=_forward(
            "return Right.forward(ctx, *(value.float().double() for value in inputs))",
        ),
        hint="Follow the dtype of the inputs through your forward: where do their last digits get "
        "lost?",
        rejected_by=("precision",),
    ),
    Mistake(
        "forward-result-in-float32",
        code=_forward("return Right.forward(ctx, *inputs).float().double()"),
        hint="What forward works out has about 16 digits, what it returns has 7. What happens to "
        "the result on its last few steps?",
        rejected_by=("precision",),
    ),
    Mistake(
        "noise",
        code=_backward(
            "return tuple(v * (1 + 1e-3 * torch.rand(())) for v in Right.backward(ctx, g))",
        ),
        hint="The same question gets another answer each time. What in your backward is left to "
        "chance?",
        rejected_by=ALL,
    ),
    Mistake(
        "rounded",
        code=_backward(
            "return tuple((v * 1e4).round() / 1e4 for v in Right.backward(ctx, g))",
        ),
        hint="Rounding is for showing numbers. What becomes of a gradient that is smaller than "
        "what you round to?",
        rejected_by=ALL,
    ),
    Mistake(
        "upstream-zeroed-in-place",
        code=_backward(
            "values = Right.backward(ctx, g.clone())",
            "g.zero_()",
            "return values",
        ),
        hint="Print g before and after your backward. Others may still want to read it: whose is "
        "it to change?",
        rejected_by=("purity",),
    ),
    Mistake(
        "upstream-scaled-in-place",
        code=_backward(
            "values = tuple(value / 2 for value in Right.backward(ctx, g.mul_(2)))",
            "return values",
        ),
        hint="An operation that ends in an underscore, and `*=` too, writes into the tensor "
        "itself. Which of your tensors were given to you?",
        rejected_by=("purity",),
    ),
    Mistake(
        "input-changed-in-forward",
        code=_forward(
            "output = Right.forward(ctx, *(value.clone() for value in inputs))",
            "inputs[0].add_(1)",
            "return output",
        ),
        hint="Print the inputs before and after your forward. A network may use the same tensor "
        "in more than one place: what would that other place see?",
        rejected_by=("purity",),
    ),
    Mistake(
        "saved-input-changed",
        code=_backward(
            "values = tuple(value.clone() for value in Right.backward(ctx, g))",
            "for saved in ctx.saved_tensors:",
            "    saved.data.zero_()",
            "return values",
        ),
        hint="What you saved is the very tensor that came in, not a copy of it. What does your "
        "backward find there when it runs again?",
        rejected_by=ANY,
    ),
    Mistake(
        "last-forward-wins",
        code=_forward(
            "Right.latest = ctx",
            "return Right.forward(ctx, *inputs)",
        )
        + _backward("return Right.backward(Right.latest, g)"),
        hint="A network calls this function once for each layer, and every call needs a memory of "
        "its own. What does yours remember after the second call, and where is it kept?",
        rejected_by=("memory",),
    ),
    Mistake(
        "first-forward-stays",
        code=_forward(
            "if not hasattr(Right, 'first'):",
            "    Right.first = ctx",
            "return Right.forward(ctx, *inputs)",
        )
        + _backward("return Right.backward(Right.first, g)"),
        hint="Something is remembered from the first call and used ever after. Is what came in "
        "then still what comes in now?",
        rejected_by=ANY,
    ),
    Mistake(
        "works-once",
        code=_backward(
            "if hasattr(ctx, 'done'):",
            "    raise RuntimeError('backward has run already')",
            "ctx.done = True",
            "return Right.backward(ctx, g)",
        ),
        hint="backward may be asked again for the same forward, with another g. What has your "
        "first run used up?",
        rejected_by=("memory",),
    ),
    Mistake(
        "sums-over-calls",
        code=_backward(
            "values = Right.backward(ctx, g)",
            "before = getattr(ctx, 'total', [0] * len(values))",
            "ctx.total = [old + value for old, value in zip(before, values)]",
            "return tuple(ctx.total)",
        ),
        hint="Torch itself adds up what several calls of backward return. What happens if your "
        "function does so too?",
        rejected_by=("memory",),
    ),
    Mistake(
        "tires",
        code="calls = 0\n"
        + _backward(
            "Right.calls = getattr(Right, 'calls', 0) + 1",
            "tired = 1.5 if Right.calls > 250 else 1",
            "return tuple(tired * value for value in Right.backward(ctx, g))",
        ),
        hint="Your function answers differently after many calls than at first. What does it "
        "count, or collect?",
        rejected_by=("training",),
    ),
    Mistake(
        "nothing-saved",
        code=_forward("return Right.apply(*inputs)"),
        hint="backward runs later, and knows only what forward has left for it in ctx. What have "
        "you left there?",
        rejected_by=ALL,
    ),
    Mistake(
        "return-forgotten",
        code=_backward("Right.backward(ctx, g)"),
        hint="You have worked it all out, and the caller gets None. What is the last line of a "
        "function that hands something back?",
        rejected_by=ALL,
    ),
    Mistake(
        "list-returned",
        code=_backward("return list(Right.backward(ctx, g))"),
        hint="Torch reads several gradients from a tuple, and takes anything else for one. Which "
        "brackets, if any, does your return have?",
        rejected_by=ALL,
    ),
    Mistake(
        "numbers-returned",
        code=_backward("return tuple(value.tolist() for value in Right.backward(ctx, g))"),
        hint="The numbers may be right, but they are plain Python ones by now. What does torch "
        "want to go on with?",
        rejected_by=ALL,
    ),
    Mistake(
        "arrays-returned",
        code=_backward("return tuple(value.numpy() for value in Right.backward(ctx, g))"),
        hint="numpy did the work, which is fine. How does an array become a tensor again before "
        "it leaves?",
        rejected_by=ALL,
    ),
    Mistake(
        "one-gradient-too-many",
        code=_backward("return (*Right.backward(ctx, g), g)"),
        hint="Count the inputs of forward, ctx aside, and count what you return.",
        rejected_by=ALL,
    ),
    Mistake(
        "ctx-forgotten",
        code=_function("backward(g)", "return g"),
        hint="torch calls backward with two things. The first is the one that carries what "
        "forward has saved: does your function's head have room for it?",
        rejected_by=ALL,
    ),
    Mistake(
        "not-written-yet",
        code=_backward("raise NotImplementedError"),
        hint="This backward still stands as it was handed out. Begin with the formula of forward: "
        "if one input moves a little, how much does the output move?",
        rejected_by=ALL,
    ),
    Mistake(
        "tuple-from-forward",
        code=_forward("return (Right.forward(ctx, *inputs),)"),
        hint="forward has one result. Is there a comma, or a pair of brackets, that makes a tuple "
        "of it?",
        rejected_by=("forward",),
    ),
    Mistake(
        "nothing-from-forward",
        code=_forward("Right.forward(ctx, *inputs)"),
        hint="forward computes its result and keeps it to itself. What is missing at its end?",
        rejected_by=("forward",),
    ),
)

SEVERAL_INPUTS = (
    Mistake(
        "one-gradient-too-few",
        code=_backward("return Right.backward(ctx, g)[:-1]"),
        hint="forward has taken several inputs, and torch wants an answer for each, in their "
        "order. For which is there none?",
        rejected_by=ALL,
    ),
    Mistake(
        "all-or-nothing",
        code=_backward(
            "if not all(ctx.needs_input_grad):",
            "    return (None,) * len(ctx.needs_input_grad)",
            "return Right.backward(ctx, g)",
        ),
        hint="Sometimes only one of the inputs needs a gradient, as when the weights are frozen. "
        "What does that one get from you?",
        rejected_by=("subsets",),
    ),
    Mistake(
        "wrong-input-asked",
        code=_backward(
            "pairs = zip(Right.backward(ctx, g), reversed(ctx.needs_input_grad))",
            "return tuple(value if needed else None for value, needed in pairs)",
        ),
        hint="ctx.needs_input_grad has an entry for each input, in the order of forward. Do you "
        "ask about the input that you then answer for?",
        rejected_by=("subsets",),
    ),
    Mistake(
        "saved-if-all-need-it",
        code=_forward(
            "if all(value.requires_grad for value in inputs):",
            "    return Right.forward(ctx, *inputs)",
            "return Right.apply(*inputs)",
        ),
        hint="What backward needs for one input is often the value of another, which may need no "
        "gradient itself. On what does it depend what you save?",
        rejected_by=("subsets",),
    ),
)

SHAPED = (
    Mistake(
        "contiguous-only",
        code=_backward(
            "for value in ctx.saved_tensors:",
            "    value.view(-1)",
            "return Right.backward(ctx, g)",
        ),
        hint="view works only while the numbers lie in memory in the order of their indices. A "
        "transposed tensor holds the same numbers; which operation does not mind?",
        rejected_by=("layout",),
    ),
)
