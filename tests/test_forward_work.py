"""Stages whose forward is the students' work as well as the backward."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch.autograd import Function

from grading.nbgrader.handout import module_text
from grading.verify.case import Solution, unsolved
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment
from harness.course.settings import Settings
from harness.declare import DeclarationError, assignment, labels, pair, stage
from harness.errors import UserError
from harness.judging.judge import judge
from harness.notebook import Handout
from harness.probes import plan
from tests.own_course import backprop, declare

BOTH = "forward, backward"
DECLARED = """
\"\"\"Layers.\"\"\"

import torch
from torch.nn import functional as F

from harness.declare import assignment, labels, pair, stage


def scaled(x, gamma):
    secret = x - x.mean(0)
    return gamma * secret / (secret.square().mean(0) + 1e-5).sqrt()


norm = pair("norm", "x[N D], gamma[D] -> out", scaled, sizes="N > 2", work="forward, backward",
            where={"secret": "x - x.mean(0)"})
loss = pair("loss", "x[N C], y[N] -> cost", forward=F.cross_entropy, inputs={"y": labels("C")},
            upstream=False, extremes={"x": (-800, 800)}, work="forward, backward",
            gradients={"x": "g * (softmax(x, 1) - one_hot(y, C)) / N"})
cube = stage("Cube", "z[] -> a", lambda z: z**3, gradients={"z": "g * 3 * z**2"},
             work="forward, backward")
relu = stage("ReLU", "z[N K] -> a", torch.relu, gradients={"z": "g * (z > 0)"})
ASSIGNMENT = assignment("Layers", [norm, loss, cube, relu])
"""
WRITTEN = """
import numpy as np
import torch
from torch.autograd import Function
from layers_assignment import check


def norm_forward(x, gamma):
    centred = x - x.mean(axis=0)
    root = np.sqrt((centred**2).mean(axis=0) + 1e-5)
    return gamma * centred / root, (centred / root, root, gamma)


def norm_backward(dout, cache):
    normal, root, gamma = cache
    d = dout * gamma
    return (d - d.mean(0) - normal * (d * normal).mean(0)) / root, (dout * normal).sum(0)


def loss(x, y):
    n = np.arange(len(x))
    logs = x - x.max(axis=1, keepdims=True)
    logs = logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))
    dx = np.exp(logs)
    dx[n, y] -= 1
    return -logs[n, y].mean(), dx / len(x)


class Cube(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z**3

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * 3 * z**2


class ReLU(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * (z > 0)
"""


def affine(x, w, b):
    return x @ w + b


AFFINE = pair("affine", "x[N D], w[D M], b[M] -> out", affine, work=BOTH)
LOSS = pair(
    "loss",
    "x[N C], y[N] -> cost",
    torch.nn.functional.cross_entropy,
    inputs={"y": labels("C")},
    upstream=False,
    work=BOTH,
)


class Square(Function):
    """Whose forward is wrong, and whose backward saves what it returns."""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z + 1)
        return z * z + 1

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return 2 * g * z


def outcomes(*stages, **names):
    work = assignment("Work", stages, name="work")
    report = judge(work, Workbench(names, work.pairs)).report
    return report, {check.id.partition("/")[2]: check for check in report.checks}


def test_forward_is_worth_as_much_as_a_gradient():
    given = stage("ReLU", "z[N K] -> a", torch.relu)
    work = assignment("Work", [AFFINE, given])
    worth = {each.id: each.max_points for each in plan(work, Settings())}
    assert worth["affine/forward"] == pytest.approx(worth["affine/gradient/x"], abs=0.1)
    assert worth["affine/forward"] > 5 * worth["relu/forward"] > 0
    assert sum(worth.values()) == pytest.approx(10)
    points = {"x": 2.0, "w": 1.0}
    for told, belongs in ((points, 2.0), ({**points, "forward": 0.5}, 0.5)):
        one = pair("affine", "x[N D], w[D M], b[M] -> out", affine, work=BOTH, points=told)
        assert plan(assignment("Work", [one]), Settings())[0].max_points == belongs


def test_forward_by_itself_earns_its_points():
    def forward(x, w, b):
        return x @ w + b, None

    def backward(dout, cache):
        raise NotImplementedError

    report, checks = outcomes(AFFINE, affine_forward=forward, affine_backward=backward)
    assert report.score == checks["forward"].points > 1


def test_a_backward_waits_for_the_forward_that_it_got_its_cache_from():
    def forward(x, w, b):
        return x @ w - b, (2 * x, w)

    def backward(dout, cache):
        x, w = cache
        return dout @ w.T, x.T @ dout, dout.sum(axis=0)

    _, checks = outcomes(AFFINE, affine_forward=forward, affine_backward=backward)
    assert checks["forward"].outcome == "failed"
    wrong = checks["gradient/w"]
    assert (wrong.outcome, wrong.waits_for) == ("not_run", "affine/forward")
    # What is right in spite of a wrong forward does not depend on what is wrong there.
    assert checks["gradient/x"].outcome == checks["gradient/b"].outcome == "passed"
    _, checks = outcomes(stage("Square", "z[N] -> a", torch.square, work=BOTH), Square=Square)
    assert checks["gradient/z"].waits_for == "square/forward"


def test_where_there_is_no_cache_gradients_do_not_wait():
    def loss(x, y):
        return 0.0 * x.sum(), x

    _, checks = outcomes(LOSS, loss=loss)
    assert checks["forward"].outcome == checks["gradient/x"].outcome == "failed"


@pytest.mark.parametrize("work", ["forward", "both", "", "backward, cache"])
def test_other_work_is_refused(work):
    with pytest.raises(DeclarationError, match='say "backward" or "forward, backward"'):
        pair("affine", "x[N D], w[D M], b[M] -> out", affine, work=work)


def test_a_network_is_refused():
    square = stage("Square", "z[N K] -> a", torch.square, work=BOTH)
    cost = stage("Cost", "a[N K], y[N K] -> C", lambda a, y: ((a - y) ** 2).sum())
    with pytest.raises(DeclarationError, match="the forward of Square is the students' work"):
        assignment("Net", network=lambda x, y: cost(square(x), y))


def test_a_handout_as_a_module_raises_in_both():
    work = assignment("Work", [AFFINE, stage("Cube", "z[] -> a", torch.square, work=BOTH)])
    text = "def affine_forward(x, w, b):\n    return x\n" + WRITTEN
    stub = unsolved(Solution("work.py", text.encode()), work).data.decode()
    assert stub.count("raise NotImplementedError") == 4
    assert "z.clamp" in stub and "z ** 3" not in stub


@pytest.fixture
def layers(tmp_path):
    folder = declare(tmp_path / "course", "layers", DECLARED)
    module = tmp_path / "home" / "layers_assignment.py"
    module.parent.mkdir()
    module.write_text(module_text(folder), encoding="utf-8")
    return module


def test_a_handout_has_recorded_cases_and_nothing_of_the_forward(layers):
    text = layers.read_text()
    assert "secret" not in text and "z**3" not in text and "softmax" not in text
    assert "cross_entropy" not in text and "torch.relu" in text and "g * (z > 0)" in text
    made = load_assignment("layers", layers)
    assert [bool(each.recorded) for each in made.stages] == [True, True, True, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "failed"),
    [
        (("", ""), set()),
        (("/ root, (centred", "/ root + 1, (centred"), {"norm/forward"}),
        (("(dout * normal).sum(0)", "dout.sum(0)"), {"norm/gradient/gamma"}),
        (("3 * z**2", "3 * z"), {"cube/gradient/z"}),
        (("logs = x - x.max(axis=1, keepdims=True)", "logs = x"), {"loss/stability"}),
        (("return g * 3", "g *= 3; return g"), {"cube/purity"}),
        (("dout * gamma", "dout.astype(np.float32) * gamma"), {"norm/precision"}),
    ],
)
def test_a_check_at_home_says_what_grading_does(layers, changed, failed):
    names: dict[str, Any] = {}
    text = WRITTEN.replace("from layers_assignment import check", "").replace(*changed)
    exec(text, names)
    parts = [names[each] for each in ("norm_forward", "norm_backward", "loss", "Cube", "ReLU")]
    handout = Handout(load_assignment("layers", layers))
    checked = handout.check(*parts)
    report = checked.report
    assert "norm" in checked._repr_mimebundle_()["text/html"]
    assert "norm" in str(handout.draw_chain())
    assert {each.id for each in report.checks if each.outcome in ("failed", "error")} == failed
    assert failed or report.score == 10
    if "cube/gradient/z" in failed:
        (check,) = [each for each in report.checks if each.id in failed]
        assert check.diagnosis and check.diagnosis.formula == "3 * g * z"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'cube = stage("Cube"',
            'NAME = "Cube"\ncube = stage(NAME',
            "forward of Cube cannot be kept",
        ),
        ("torch.relu", "lambda z: scaled(z, z)", "scaled computes what students write"),
    ],
)
def test_what_cannot_be_kept_back_is_refused(tmp_path, old, new, said):
    text = DECLARED.replace(old, new)
    if "scaled" in new:
        text = text.replace('gradients={"z": "g * (z > 0)"})', 'sizes="N > 2")')
    with pytest.raises(UserError, match=said):
        module_text(declare(tmp_path / "course", "layers", text))


@pytest.mark.proof
def test_commands_take_it(layers):
    """It is checked at home, graded and replayed."""
    place = layers.parent.parent
    home, course = layers.parent, place / "course"
    (home / "layers.py").write_text(WRITTEN)
    assert "10 of 10 points" in backprop("check", "layers.py", cwd=home)
    (place / "in").mkdir()
    (place / "in/ann.py").write_text(WRITTEN)
    wrong = WRITTEN.replace("/ root, (centred", "/ root, (2 * centred").replace("z**3", "z**2")
    (place / "in/bob.py").write_text(wrong)
    grade = ("grade", "in", "--assignment", "layers", "--course", course, "--out", "out")
    backprop(*grade, cwd=place)
    ann, bob = map(json.loads, (place / "out/results.jsonl").read_text().splitlines())
    assert ann["score"] == 10
    failed = {each["id"] for each in bob["checks"] if each["outcome"] == "failed"}
    assert failed == {"norm/gradient/x", "norm/gradient/gamma", "cube/forward"}
    replay = ("replay", "out", "bob", "--submissions", "in", "--course", course)
    assert "Same as recorded" in backprop(*replay, cwd=place)
