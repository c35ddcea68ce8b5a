"""torch's gradcheck on a student's backward, its questions sent to the candidate in one call."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck

from harness.course.stage import Sizes, Stage
from harness.probes.cases import GRADCHECK, Case, Keyed, cached, case_of, make_case, sizes_for
from harness.probes.proxy import function_of

Answered = tuple[Tensor | None, ...]


def gradcheck_objection(
    stage: Stage, names: Sequence[str], case: Case, answers: Sequence[Answered]
) -> str | None:
    """Return gradcheck's objection to ``answers``, the gradients for the inputs ``names``.

    Return None if it accepts them. Its numerical side differentiates the reference forward, so
    that a wrong forward is not blamed on backward. ``answers`` belong to the upstreams of
    ``gradcheck_case``, in their order.
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

    def answer(asked: Tensor) -> Answered:
        question, given = next(pairs)
        if not torch.equal(question, asked):
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
    case = make_case(stage, seed, sizes_for("gradcheck", seed, sizes)[0], GRADCHECK)
    name = stage.required[0]
    at = stage.position(name)
    asked: list[Tensor] = []

    def answer(question: Tensor) -> Answered:
        asked.append(question.clone())
        return (stage.true_gradients(case.inputs, question)[at],)

    _run(stage, [name], case, answer)
    return case_of(stage, case.seed, case.sizes, case.index, case.inputs, tuple(asked))


def _run(
    stage: Stage, names: Sequence[str], case: Case, answer: Callable[[Tensor], Answered]
) -> None:
    given = dict(zip(stage.inputs, case.inputs, strict=True))

    def forward(ctx: Any, *values: Tensor) -> Tensor:
        moved = {**given, **dict(zip(names, values, strict=True))}
        return stage.forward(*moved.values())

    def backward(ctx: Any, upstream: Tensor) -> Answered:
        return answer(upstream)

    leaves = tuple(given[name].clone().requires_grad_() for name in names)
    function = function_of(stage.name, forward, backward)
    # The function above fills in zeros for undefined upstreams itself: nothing to check there.
    gradcheck(function, leaves, nondet_tol=1e-12, check_undefined_grad=False)
