"""Records a stage's answers to the public cases as plain data, and reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from harness.candidate.values import copy_with_layout, same
from harness.candidate.workbench import Workbench
from harness.cases.cases import (
    PUBLIC_SEED,
    Case,
    cases_for,
    extreme_cases,
    float32_case,
    fresh_cases,
    largest,
    layout_cases,
    memory_cases,
    mixes_numbers,
    more_numbers,
    sizes_for,
)
from harness.cases.kinks import Slopes
from harness.cases.rounding import rounding
from harness.cases.special_cases import special_cases
from harness.course.assignment import Assignment
from harness.course.recorded import NotRecorded, Recorded
from harness.course.settings import Settings
from harness.course.sizes import few_numbers
from harness.course.stage import Stage, Upstream, Values
from harness.probes.numerical import gradcheck_case
from harness.probes.optimizers import ways_of
from harness.probes.plan import Session, plan
from harness.updates import Optimizer
from harness.updates.optimizer import as_class
from harness.updates.recorded import encoded

# A case with more numbers than this is recorded with one upstream.
MOST = 1_000
_FIELDS = tuple(each.name for each in fields(Case))


class Recording(Recorded):
    """Answers that `record` has written."""

    def __init__(self, text: str) -> None:
        told = _read(json.loads(text))
        self.sizes, self.axes, self._cases = told["sizes"], told["axes"], told["cases"]
        self.mixes = told.get("mixes", True)  # older handouts do not say

    def cases(self, purpose: str) -> Any:
        """Return what was recorded under the name of a function."""
        return self._cases[purpose]

    def __call__(self, *inputs: Any) -> tuple[Tensor, ...]:
        """Return the outputs for recorded inputs. Raise NotRecorded for others."""
        return next(self._of(inputs)).outputs

    def gradients(self, inputs: Values, upstream: Upstream) -> tuple[Tensor | None, ...]:
        """Return the gradients of a recorded call. Raise NotRecorded for others."""
        for case in self._of(inputs):
            for given, gradients in zip(case.upstreams, case.gradients, strict=True):
                if all(map(same, given, upstream)):
                    return gradients
        raise NotRecorded("no gradients are recorded for this upstream")

    def _of(self, inputs: Values) -> Iterator[Case]:
        for made in self._cases.values():
            for case in [made] if isinstance(made, Case) else made:
                if all(map(same, case.inputs, inputs)):
                    yield case
        raise NotRecorded("no outputs are recorded for these inputs")


def record(stage: Stage) -> str:
    """Return a stage's answers to the cases that are public as JSON."""

    def at(purpose: str) -> Any:
        return sizes_for(purpose, PUBLIC_SEED, stage, stage.sizes)[0]

    asked: list[tuple[Callable[..., Any], Any]] = [
        (cases_for, stage.sizes),
        (memory_cases, at("memory")),
        (fresh_cases, stage.sizes[0]),
        (extreme_cases, at("stability")),
        (float32_case, at("float32")),
        (layout_cases, at("layout")),
        (special_cases, few_numbers(stage, at("special"))),
    ]
    if stage.is_scalar:
        asked.append((more_numbers, {}))
    cases = {make.__name__: make(stage, PUBLIC_SEED, sizes) for make, sizes in asked}
    # Its numerical side needs the forward itself.
    cases["gradcheck_case"] = replace(
        gradcheck_case(stage, PUBLIC_SEED, stage.sizes), upstreams=(), gradients=()
    )
    told = {"sizes": stage.sizes, "axes": stage.output_axes, "mixes": mixes_numbers(stage)}
    made = {
        purpose: _with_rooms(stage, each)
        if isinstance(each, Case)
        else [_with_rooms(stage, one) for one in each]
        for purpose, each in cases.items()
    }
    return json.dumps(_plain({**told, "cases": made}))


def record_steps(assignment: Assignment, optimizer: Optimizer) -> str:
    """Return where an optimizer leads in the checks that are public, as JSON."""
    references = {each.name: as_class(each) for each in assignment.optimizers}
    session = Session(assignment, Workbench(references), PUBLIC_SEED)
    for check in plan(assignment, Settings()):
        if check.stage == optimizer.name:
            check.run(session)
    ran = session.optimizers[optimizer.name].answers.values()
    trajectories = [each.trajectory for those in ran for each in those]
    ways = ways_of(optimizer)
    paths = {each.name: [way(each) for _, way in ways] for each in trajectories}
    return encoded(optimizer, [hint for hint, _ in ways], paths)


def _with_rooms(stage: Stage, case: Case) -> Case:
    """Return a case with what its answers may be off by; a large one with a single upstream."""
    values = (*case.inputs, *case.outputs)
    if sum(each.numel() for each in values if isinstance(each, Tensor)) > MOST:
        case = replace(case, upstreams=case.upstreams[:1], gradients=case.gradients[:1])
    rooms = tuple(
        tuple(largest([each]) for each in (*room.outputs, *room.gradients))
        for room in (rounding(stage, case, at) for at in range(len(case.upstreams)))
    )
    return replace(case, rooms=rooms)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: a list is a tuple, a dictionary says what it stands for."""
    if isinstance(value, Tensor):
        told = {
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
            "values": value.flatten().tolist(),
        }
        return told if value.is_contiguous() else {**told, "strides": list(value.stride())}
    if isinstance(value, Case):
        return {"case": [_plain(getattr(value, name)) for name in _FIELDS]}
    if isinstance(value, Mapping):
        return {"mapping": {name: _plain(each) for name, each in value.items()}}
    return list(map(_plain, value)) if isinstance(value, list | tuple) else value


def _read(told: Any) -> Any:
    """Return the value that `_plain` told."""
    match told:
        case {"values": values, "dtype": dtype, "shape": shape}:
            made = torch.tensor(values, dtype=getattr(torch, dtype), device="cpu").reshape(shape)
            return copy_with_layout(made, tuple(told.get("strides", made.stride())))
        case {"case": parts}:
            case = Case(*map(_read, parts))
            slopes = tuple(each and Slopes(*each) for each in case.slopes)
            return replace(case, slopes=slopes)
        case {"mapping": parts}:
            return {name: _read(each) for name, each in parts.items()}
        case list():
            return tuple(map(_read, told))
    return told
