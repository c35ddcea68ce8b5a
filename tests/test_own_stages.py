"""The stages of the example course: right answers pass whole, and no answer is the grader's fault.

What comes back wrong here is wrong in kind rather than in formula: other types, shapes, counts.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment, module_of
from harness.declare import assignment
from harness.judging.judge import judge

SOLUTIONS = Path(__file__).parents[1] / "examples" / "solutions"
NAMES = sorted(path.parent.name for path in SOLUTIONS.glob("*/assignment.py"))


@cache
def declared(name):
    return load_assignment(name, SOLUTIONS / name / "assignment.py")


@cache
def solved(name):
    """The classes of the right solution."""
    beside: Any = ModuleType(module_of(name))
    beside.check = beside.train = beside.draw_chain = lambda *given, **named: None
    text = (SOLUTIONS / name / f"{name}.py").read_text(encoding="utf-8")
    before = sys.modules.get(beside.__name__)
    sys.modules[beside.__name__] = beside
    try:
        scope: dict[str, Any] = {"__name__": "solution"}
        exec(compile(text, f"{name}.py", "exec"), scope)
    finally:
        sys.modules.pop(beside.__name__)
        if before:
            sys.modules[beside.__name__] = before
    return {key: value for key, value in scope.items() if callable(value)}


STAGES = [
    pytest.param(name, stage, id=f"{name}/{stage.name}")
    for name in NAMES
    for stage in declared(name).stages
]
PAIRS = {stage.name for name in NAMES for stage in declared(name).stages if stage.pair}
CLASSES = [each for each in STAGES if str(each.id).rpartition("/")[2] not in PAIRS]


def judged(stage, classes, seed):
    own = assignment("Own", [stage])
    report = judge(own, Workbench(classes, own.pairs), seed=seed).report
    assert sum(check.max_points for check in report.checks) == pytest.approx(10)
    return report


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.proof) for seed in (2, 3))]
)
@pytest.mark.parametrize(("name", "stage"), STAGES)
def test_right_answers_get_all_points(name, stage, seed):
    report = judged(stage, solved(name), seed)
    assert report.score == pytest.approx(10), [
        (check.id, check.message) for check in report.checks if check.outcome != "passed"
    ]
    assert not report.flags


def each_tensor(change):
    return lambda found: tuple(change(x) if isinstance(x, Tensor) else x for x in found)


def unwritten(found):
    raise NotImplementedError


WAYS = {
    "unwritten": unwritten,
    "nothing": lambda found: None,
    "all None": lambda found: (None,) * len(found),
    "a list": list,
    "one too few": lambda found: found[:-1],
    "one too many": lambda found: (*found, torch.ones(2)),
    "float16": each_tensor(Tensor.half),
    "integers": each_tensor(Tensor.long),
    "booleans": each_tensor(lambda x: x > 0),
    "complex": each_tensor(lambda x: x + 1j),
    "huge": each_tensor(lambda x: (x + 1) * 1e300),
    "NaN": each_tensor(lambda x: x * torch.nan),
    "infinity": each_tensor(lambda x: (x + 2) / 0),
    "one axis more": each_tensor(lambda x: x[None].repeat(2, *[1] * x.dim())),
    "its sum": each_tensor(lambda x: x.sum() + 1),
    "twice": each_tensor(lambda x: 2 * x + 1),
    "random": each_tensor(torch.randn_like),
    "numbers": lambda found: tuple(1.5 for _ in found),
    "strings": lambda found: tuple("x" for _ in found),
    "arrays": each_tensor(lambda x: x.detach().numpy()),
    "empty": each_tensor(lambda x: torch.empty(0)),
    "sparse": each_tensor(lambda x: (x + 1).to_sparse()),
    "a list in a tuple": lambda found: tuple([x] for x in found),
    "a class": lambda found: tuple(Tensor for _ in found),
}


def changed(right: type[Function], way) -> type[Function]:
    class Changed(right):  # type: ignore[valid-type, misc]
        @staticmethod
        def backward(ctx, *upstream):
            found = right.backward(ctx, *upstream)
            return way(found if isinstance(found, tuple) else (found,))

    return Changed


@pytest.mark.proof
@pytest.mark.parametrize(("name", "stage"), CLASSES)
def test_whatever_a_backward_returns_there_is_a_verdict_and_it_is_right(name, stage):
    classes = solved(name)
    for said, way in WAYS.items():
        report = judged(stage, {**classes, stage.name: changed(classes[stage.name], way)}, seed=2)
        outcomes = {
            check.id.rpartition("/")[2]: check.outcome
            for check in report.checks
            if "/gradient/" in check.id
        }
        assert not {outcomes[each] for each in stage.required} & {"passed"}, (said, outcomes)
        assert report.score < 1, said


@pytest.mark.proof
@pytest.mark.parametrize(("name", "stage"), CLASSES)
def test_whatever_a_forward_returns_there_is_a_verdict(name, stage):
    right = solved(name)[stage.name]

    def spoilt(way):
        def forward(ctx, *inputs):
            found = right.forward(ctx, *inputs)
            changed = way(found if isinstance(found, tuple) else (found,))
            is_one = isinstance(changed, tuple) and len(changed) == 1
            return changed[0] if is_one else changed

        return type(stage.name, (right,), {"forward": staticmethod(forward)})

    for said, way in WAYS.items():
        report = judged(stage, {**solved(name), stage.name: spoilt(way)}, seed=2)
        forward = next(check for check in report.checks if check.id.endswith("/forward"))
        assert forward.outcome != "passed", said
