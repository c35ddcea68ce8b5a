"""Wrong and right optimizers, written by someone who had not seen how they are judged."""

import ast
import math
import tomllib
from dataclasses import replace
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from harness.candidate.workbench import Workbench
from harness.course.report import Report
from harness.declare import assignment, optimizer
from harness.judging.judge import judge
from harness.judging.validation import validate

HERE = Path(__file__).parent
MISTAKES = tomllib.loads((HERE / "optimizer_mistakes.toml").read_text(encoding="utf-8"))["mistake"]
STYLES = tomllib.loads((HERE / "optimizer_styles.toml").read_text(encoding="utf-8"))["style"]


def clipped(p, g, state, *, lr, max_norm, total_norm):
    g = g * min(1, max_norm / total_norm)
    return p - lr * g


def scheduled(p, g, state, *, lr, warmup, total, t):
    done = min(1, max(0, t - warmup) / (total - warmup))
    rate = lr * min(1, t / warmup) * 0.5 * (1 + math.cos(math.pi * done))
    return p - rate * g


ADAM = {"lr": 0.05, "betas": (0.9, 0.99), "eps": 1e-3}
GIVEN: dict[str, tuple[Any, dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {"lr": 0.1}),
    "DecayedSGD": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.05}),
    "Momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    "Nesterov": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "RMSProp": (torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9, "eps": 1e-3}),
    "Adagrad": (torch.optim.Adagrad, {"lr": 0.1, "eps": 1e-3}),
    "Adam": (torch.optim.Adam, ADAM),
    "AdamW": (torch.optim.AdamW, {**ADAM, "weight_decay": 0.1}),
    "ClippedSGD": (clipped, {"lr": 0.5, "max_norm": 1.5}),
    "WarmupCosine": (scheduled, {"lr": 0.5, "warmup": 4, "total": 20}),
}
LIKE = {
    name: replace(assignment("Optimizers", [optimizer(name, like, [tried])]), name="optimizers")
    for name, (like, tried) in GIVEN.items()
}

CLASS = """
class {stage}(Optimizer):
    def __init__(self, params, {signature}):
        super().__init__(params, dict({passed}))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            {names} = {values}
            {unpack}
            every = [p for group in self.param_groups for p in group["params"]]
            grads = [p for p in every if p.grad is not None]
            {before}
            for p in group["params"]:
                if p.grad is None:
                    continue
                g, state = p.grad, self.state[p]
{each}
"""


def class_of(entry: dict[str, str]) -> type[Optimizer]:
    """The class of an entry."""
    _, given = GIVEN[entry["stage"]]
    code = entry.get("code") or CLASS.format(
        stage=entry["stage"],
        signature=", ".join(f"{name}={value!r}" for name, value in given.items()),
        passed=", ".join(f"{name}={name}" for name in given),
        names=", ".join(given) + ",",
        values=", ".join(f'group["{name}"]' for name in given) + ",",
        unpack="beta1, beta2 = betas" if "betas" in given else "",
        before=f"if grads: {entry['before']}" if "before" in entry else "",
        each=indent(entry.get("each", ""), " " * 16),
    )
    scope: dict[str, Any] = {"torch": torch, "np": np, "math": math, "Optimizer": Optimizer}
    scope["__name__"] = "candidate"
    exec(code, scope)
    found: type[Optimizer] = scope[entry["stage"]]
    return found


def judged(entry: dict[str, str]) -> Report:
    """The report on an entry."""
    stage = entry["stage"]
    return judge(LIKE[stage], Workbench({stage: class_of(entry)}), seed=12345).report


def shared(function: Any) -> Any:
    """A function of tensors that takes numbers as well."""
    return lambda *each: function(*(torch.as_tensor(x, dtype=torch.float64) for x in each))


NAMES = {
    **{name: shared(getattr(torch, name)) for name in ("sqrt", "sign", "cos", "norm", "mean")},
    "sum": shared(torch.sum),
    "abs": shared(torch.abs),
    "exp": shared(torch.exp),
    "min": shared(torch.minimum),
    "max": shared(torch.maximum),
    "pi": math.pi,
    "clamp": shared(torch.clamp),
}
GRADIENTS = [
    [
        torch.randn(shape, generator=torch.Generator().manual_seed(9 * t + k)).double() * size
        for k, shape in enumerate([(3,), (2, 2)])
    ]
    for t, size in enumerate([1, 3e-3, 0.1, 2, 1e-2, 0.3] * 4)
]


def starts() -> list[Tensor]:
    """Two parameters before the first step."""
    return [
        torch.tensor([1.2, -0.7, 0.4]).double(),
        torch.tensor([[0.3, -2], [1.5, -0.1]]).double(),
    ]


def path_of(entry: dict[str, str]) -> list[Tensor]:
    """Where the class of an entry moves two parameters."""
    parameters = [torch.nn.Parameter(p) for p in starts()]
    optimizer = class_of(entry)(parameters, **GIVEN[entry["stage"]][1])
    path = []
    for gradients in GRADIENTS:
        for p, g in zip(parameters, gradients, strict=True):
            p.grad = g.clone()
        optimizer.step()
        path += [p.detach().clone() for p in parameters]
    return path


def path_along(rule: str, stage: str) -> list[Tensor]:
    """Where a rule moves them: state begins at 0."""
    given = dict(GIVEN[stage][1])
    given["beta1"], given["beta2"] = given.pop("betas", (0, 0))
    assigned = [
        node.id
        for node in ast.walk(ast.parse(rule))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    parameters = starts()
    states: list[dict[str, Any]] = [
        {**dict.fromkeys(assigned, torch.zeros(()).double()), "p": p} for p in parameters
    ]
    path = []
    for t, gradients in enumerate(GRADIENTS, start=1):
        total = torch.cat([g.flatten() for g in gradients]).norm()
        for state, g in zip(states, gradients, strict=True):
            state.update(NAMES | given | {"g": g, "t": t, "total_norm": total})
            exec(rule, state)
            path.append(state["p"])
    return path


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    """Whether two paths are the same."""
    return all(
        torch.allclose(a, b, rtol=1e-7, atol=1e-9, equal_nan=True)
        for a, b in zip(first, second, strict=True)
    )


def read(entries: list[dict[str, str]]) -> tuple[int, int]:
    """Of wrong optimizers: how many have an expression, and how many of those are named."""
    closed = named = 0
    for entry in entries:
        report = judged(entry)
        failed = [each for each in report.checks if each.outcome in ("failed", "error")]
        assert failed, entry
        kind = failed[0].id.partition("/")[2]
        assert kind == entry.get("fails", "update"), (entry, failed[0])
        if "rule" in entry:
            assert same(path_of(entry), path_along(entry["rule"], entry["stage"])), entry
        closed += "rule" in entry
        if (diagnosis := failed[0].diagnosis) and kind == "update":
            assert same(path_of(entry), path_along(diagnosis.formula, entry["stage"])), entry
        named += "rule" in entry and diagnosis is not None
    return closed, named


@pytest.mark.proof
def test_no_wrong_optimizer_passes_and_all_but_a_few_are_named() -> None:
    assert len(MISTAKES) >= 160
    closed, named = read(MISTAKES)
    assert closed >= 130
    assert named / closed >= 0.95


@pytest.mark.slow
def test_of_some_wrong_optimizers_none_passes() -> None:
    closed, named = read(MISTAKES[::23])
    assert closed == named >= 5


@pytest.mark.proof
@pytest.mark.parametrize("entry", STYLES, ids=lambda entry: entry["stage"])
def test_a_right_optimizer_in_an_odd_style_gets_full_marks(entry: dict[str, str]) -> None:
    report = judged(entry)
    assert {each.outcome for each in report.checks} == {"passed"}, report
    assert report.flags == ()


@pytest.mark.slow
def test_torchs_optimizers_in_a_list_are_flagged() -> None:
    code = """
class SGD(Optimizer):
    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})
        self.inner = [torch.optim.SGD(group["params"], lr=lr) for group in self.param_groups]

    def step(self):
        for group, each in zip(self.param_groups, self.inner):
            each.param_groups[0]["lr"] = group["lr"]
            each.step()
"""
    report = judged({"stage": "SGD", "code": code})
    assert [each.kind for each in report.flags] == ["built-in-optimizer"]


def test_a_parameter_of_another_type_is_told_before_what_comes_of_it() -> None:
    report = judged({"stage": "SGD", "each": "p.data = (p - lr * g).float()"})
    assert report.checks[0].message.startswith("After step 1, p is float32, and it was float64.")


def test_a_reference_may_use_pi_and_change_its_rate() -> None:
    def reference(p, g, state, *, lr, total, t):
        lr = lr * (1 + math.cos(math.pi * min(1, t / total)))
        return p - lr * g

    each = optimizer("Cosine", reference, [{"lr": 0.1, "total": 9}])
    validate(replace(assignment("Optimizers", [each]), name="optimizers"))
    assert str(each.rule) == "lr = lr * (1 + cos(pi * min(1, t / total))); p = p - lr * g"


LIMIT = 0.5


def test_a_reference_that_reads_other_names_is_no_rule() -> None:
    def reference(p, g, state, *, lr):
        g = g.clamp(min=-LIMIT, max=LIMIT)
        return p - lr * g * LIMIT

    each = optimizer("Limited", reference, [{"lr": 0.1}])
    validate(replace(assignment("Optimizers", [each]), name="optimizers"))
    assert each.rule is None
