"""torch's gradcheck on a student's backward, its questions sent to the candidate in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError, gradcheck

from harness.probes.cases import Case, case_of, cases_for
from harness.proxy import function_of
from harness.stage import Sizes, Stage

Answerer = Callable[[Tensor], Tensor | None]


def gradcheck_case(stage: Stage, seed: int, sizes: tuple[Sizes, ...]) -> Case:
    """The first hidden case, with the upstreams that gradcheck is going to ask about.

    gradcheck's questions do not depend on the answers, so they are collected beforehand.
    """
    return _collect(stage, seed, tuple(tuple(each.items()) for each in sizes))


def gradcheck_objection(
    stage: Stage, name: str, case: Case, answers: Sequence[Tensor | None]
) -> str | None:
    """What gradcheck has against ``answers``, the gradients for input ``name``; None if nothing.

    Its numerical side differentiates the reference forward, so that a wrong forward is not blamed
    on backward. ``answers`` belong to the upstreams of ``gradcheck_case``, in their order.
    """
    pairs = iter(zip(case.upstreams, answers, strict=True))

    def answer(asked: Tensor) -> Tensor | None:
        question, given = next(pairs)
        if not torch.equal(question, asked):
            raise RuntimeError("gradcheck changed its questions; torch must have changed")
        return given

    try:
        _run(stage, name, case, answer)
    except GradcheckError as error:
        return str(error)
    return None


@lru_cache(maxsize=64)
def _collect(stage: Stage, seed: int, sizes: tuple[tuple[tuple[str, int], ...], ...]) -> Case:
    as_sizes: tuple[Sizes, ...] = tuple(dict(each) for each in sizes)
    case = cases_for(stage, seed, as_sizes)[1]
    name = stage.required[0]
    at = tuple(stage.inputs).index(name)
    asked: list[Tensor] = []

    def answer(question: Tensor) -> Tensor:
        asked.append(question.clone())
        return stage.true_gradients(case.inputs, question)[at]

    _run(stage, name, case, answer)
    return case_of(stage, case.seed, case.sizes, case.inputs, tuple(asked))


def _run(stage: Stage, name: str, case: Case, answer: Answerer) -> None:
    at = tuple(stage.inputs).index(name)

    def forward(ctx: Any, value: Tensor) -> Tensor:
        return stage.forward(*case.inputs[:at], value, *case.inputs[at + 1 :])

    def backward(ctx: Any, upstream: Tensor) -> Tensor | None:
        return answer(upstream)

    moved = case.inputs[at].clone().requires_grad_()
    function = function_of(stage.name, forward, backward)
    # The function above fills in zeros for undefined upstreams itself: nothing to check there.
    gradcheck(function, (moved,), nondet_tol=1e-12, check_undefined_grad=False)
