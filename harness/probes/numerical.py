"""torch's gradcheck on a student's backward, its questions sent to the candidate in one call."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck

from harness.cases.cases import GRADCHECK, Case, Keyed, cached, case_of, make_case, sizes_for
from harness.cases.kinks import REFUSALS
from harness.course.inputs import Sizes
from harness.course.sizes import gradcheck_sizes
from harness.course.stage import Stage, Upstream
from harness.probes.proxy import function_of

Answered = tuple[Tensor | None, ...]
# How often a case is drawn again at which differences are too coarse for the true gradients.
DRAWN = 8


def gradcheck_objection(
    stage: Stage, names: Sequence[str], case: Case, answers: Sequence[Answered]
) -> str | None:
    """Return gradcheck's objection to ``answers``, the gradients for the inputs ``names``.

    There is one for each argument of these names. Return None if it accepts them. Its numerical
    side differentiates the reference forward, so that a wrong forward is not blamed on backward.
    ``answers`` belong to the upstreams of ``gradcheck_case``, in their order.
    """
    return _objection(stage, tuple(names), case, Keyed(_bits(answers), tuple(answers)))


def _bits(answers: Sequence[Answered]) -> tuple[bytes, ...]:
    return tuple(
        b"" if value is None else f"{value.dtype} ".encode() + _values_of(value)
        for answer in answers
        for value in answer
    )


def _values_of(value: Tensor) -> bytes:
    flat = value.detach().resolve_conj().resolve_neg().flatten().contiguous()
    values: bytes = flat.view(torch.uint8).numpy().tobytes()
    return values


# Most right backwards answer alike to the last bit, and so do many wrong ones.
@lru_cache(maxsize=256)
def _objection(
    stage: Stage, names: tuple[str, ...], case: Case, answers: Keyed[tuple[Answered, ...]]
) -> str | None:
    pairs = iter(zip(case.upstreams, answers.value, strict=True))

    def answer(asked: Upstream) -> Answered:
        question, given = next(pairs)
        if not all(map(_same, question, asked)):
            raise RuntimeError("gradcheck changed its questions; torch must have changed")
        return given

    try:
        _run(stage, names, case, answer)
    except GradcheckError as error:
        return str(error)
    return None


@cached
def gradcheck_case(stage: Stage, seed: int, sizes: tuple[Sizes, ...]) -> Case:
    """Return a case of its own, with the upstreams that gradcheck is going to ask about.

    gradcheck's questions do not depend on the answers, so they are collected beforehand.
    """
    small = gradcheck_sizes(stage, sizes_for("gradcheck", seed, stage, sizes))
    for attempt in range(DRAWN):
        case = make_case(stage, seed, small, GRADCHECK + attempt)
        with suppress(GradcheckError, *REFUSALS):
            asked = _questions(stage, case)
            return case_of(stage, case.seed, case.sizes, case.index, case.inputs, asked)
    # Differences of this reference are too coarse everywhere: built-in autograd has to do.
    return case_of(stage, case.seed, case.sizes, case.index, case.inputs, ())


def _questions(stage: Stage, case: Case) -> tuple[Upstream, ...]:
    """Return what gradcheck asks. Raise GradcheckError if it refuses the true gradients."""
    names = stage.differentiable
    places = [at for name in names for at in stage.places(name, case.inputs)]
    asked: list[Upstream] = []

    def answer(question: Upstream) -> Answered:
        asked.append(tuple(None if each is None else each.clone() for each in question))
        true = stage.true_gradients(case.inputs, question)
        return tuple(true[at] for at in places)

    _run(stage, names, case, answer)
    return tuple(asked)


def _run(
    stage: Stage, names: Sequence[str], case: Case, answer: Callable[[Upstream], Answered]
) -> None:
    places = [at for name in names for at in stage.places(name, case.inputs)]

    def forward(ctx: Any, *values: Tensor) -> Any:
        moved = list(case.inputs)
        for at, value in zip(places, values, strict=True):
            moved[at] = value
        outputs = [each for each in stage.run(tuple(moved)) if each.is_floating_point()]
        return tuple(outputs) if len(outputs) > 1 else outputs[0]

    def backward(ctx: Any, *asked: Tensor) -> Answered:
        given = iter(asked)
        return answer(
            tuple(next(given) if each.is_floating_point() else None for each in case.outputs)
        )

    tensors = [value for at in places if isinstance(value := case.inputs[at], Tensor)]
    leaves = tuple(value.clone().requires_grad_() for value in tensors)
    function = function_of(stage.name, forward, backward)
    # The function above fills in zeros for undefined upstreams itself: nothing to check there.
    gradcheck(function, leaves, nondet_tol=1e-12, check_undefined_grad=False)


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    return torch.equal(one, other)
