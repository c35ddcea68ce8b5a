"""Pairs of functions with a cache, in numpy and in torch, judged as classes are."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.seeds import run, statements
from grading.verify.case import read_solution
from grading.verify.controls import controls_for
from grading.verify.mutants import claimable, formulas_of, mistakes_of
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment, use_course
from harness.declare import assignment, labels, pair
from harness.judging.judge import judge
from harness.notebook import Handout
from tests.own_course import backprop, declare
from tests.test_examples import COURSE
from tests.test_own_stages import WAYS

AFFINE = pair("affine", "x[N D], w[D M], b[M] -> out", lambda x, w, b: x @ w + b)
LOSS = pair(
    "softmax_loss",
    "x[N C], y[N] -> loss",
    F.cross_entropy,
    inputs={"y": labels("C")},
    upstream=False,
    gradients={"x": "g * (softmax(x, 1) - one_hot(y, C)) / N"},
)
SCALE = pair(
    "scale",
    "x[N D], by -> out",
    lambda x, by: x * by,
    inputs={"by": [2, 3]},
    arrays="torch",
    pack={"scale_param": {"factor": "by"}},
)
SINGLE = pair("double", "x[] -> out", lambda x: 2 * x, gradients={"x": "g * 2"})


def affine_forward(x, w, b):
    assert isinstance(x, np.ndarray)
    return x @ w + b, (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def softmax_loss(x, y):
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    n = np.arange(len(x))
    loss = -np.log(p[n, y]).mean()
    p[n, y] -= 1
    return loss, p / len(x)


def scale_forward(x, scale_param):
    assert isinstance(x, torch.Tensor)
    return x * scale_param["factor"], scale_param["factor"]


def scale_backward(dout, cache):
    return dout * cache


def double_forward(x):
    return float(2 * x), None


def double_backward(dout, cache):
    return np.asarray(2 * dout)


RIGHT: dict[str, Any] = {
    each.__name__: each
    for each in (
        *(affine_forward, affine_backward, softmax_loss, scale_forward, scale_backward),
        *(double_forward, double_backward),
    )
}


def judged(*stages, **changed):
    work = assignment("Pairs", stages, name="pairs")
    return judge(work, Workbench({**RIGHT, **changed}, work.pairs)).report


def failures(report):
    return {
        check.id: check for check in report.checks if check.outcome not in ("passed", "not_run")
    }


@pytest.mark.parametrize("stage", [AFFINE, LOSS, SCALE], ids=lambda stage: stage.name)
def test_right_functions_get_full_marks_without_advice(stage):
    report = judged(stage)
    assert not failures(report) and report.score == 10 and report.advice == ()


def test_a_number_stands_for_an_array_of_one():
    assert not failures(judged(SINGLE))


def test_gradients_can_be_of_all_inputs_or_a_list():
    def affine_backward(dout, cache):
        return [*RIGHT["affine_backward"](dout, cache)]

    def scale_backward(dout, cache):
        return dout * cache, None

    def affine_forward(x, w, b):
        return [*RIGHT["affine_forward"](x, w, b)]

    changed = {"affine_forward": affine_forward, "affine_backward": affine_backward}
    assert not failures(judged(AFFINE, **changed))
    assert not failures(judged(SCALE, scale_backward=scale_backward))


def test_what_was_written_is_named_as_the_functions_have_it():
    def affine_backward(dout, cache):
        x, w, _ = cache
        return dout @ w.T, x.T @ dout / len(x), dout.sum(axis=0)

    found = failures(judged(AFFINE, affine_backward=affine_backward))
    assert set(found) == {"affine/gradient/w"}
    check = found["affine/gradient/w"]
    assert check.diagnosis and check.diagnosis.formula == "x.T @ g / N"
    assert check.message.startswith("affine_backward: ∂C/∂w is wrong.")


def test_where_there_is_no_upstream_formulas_have_none():
    def softmax_loss(x, y):
        loss, dx = RIGHT["softmax_loss"](x, y)
        return loss, dx * len(x)

    found = failures(judged(LOSS, softmax_loss=softmax_loss))
    check = found["softmax_loss/gradient/x"]
    assert check.diagnosis
    assert check.diagnosis.formula == "softmax(x, 1) - one_hot(y, C)"
    assert check.diagnosis.expected == "(softmax(x, 1) - one_hot(y, C)) / N"


@pytest.mark.parametrize("way", sorted(WAYS.keys() - {"a list", "arrays"}))
def test_whatever_is_returned_there_is_a_verdict_and_it_is_right(way):
    def affine_backward(dout, cache):
        found = WAYS[way](tuple(map(torch.from_numpy, RIGHT["affine_backward"](dout, cache))))
        return tuple(found) if isinstance(found, list) else found

    def affine_forward(x, w, b):
        out, cache = RIGHT["affine_forward"](x, w, b)
        return WAYS[way]((out if way == "numbers" else torch.from_numpy(out),)), cache

    right = "x", "w", "b"
    found = failures(judged(AFFINE, affine_backward=affine_backward))
    assert {f"affine/gradient/{name}" for name in right} <= set(found)
    assert failures(judged(AFFINE, affine_forward=affine_forward))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"affine_backward": None}, "There is no function affine_backward"),
        ({"affine_forward": 3}, "affine_forward is not a function"),
        ({"affine_forward": lambda x, w, b: x @ w + b}, "did not return an output and a cache"),
        ({"affine_backward": lambda d, c: (d, d)}, "did not return a gradient for each input"),
    ],
)
def test_what_cannot_be_called_is_said(changed, said):
    found = failures(judged(AFFINE, **changed))
    assert any(said in check.message for check in found.values())


def test_a_change_of_dout_in_place_is_seen():
    def affine_backward(dout, cache):
        found = RIGHT["affine_backward"](dout.copy(), cache)
        dout *= 0
        return found

    assert set(failures(judged(AFFINE, affine_backward=affine_backward))) == {"affine/purity"}


def test_a_notebook_checks_the_functions_of_a_stage_together():
    handout = Handout(assignment("Pairs", [AFFINE, LOSS], name="pairs"))
    assert handout.check(affine_forward, affine_backward).report.score > 0
    assert {each.stage for each in handout.check(softmax_loss).report.checks} == {"softmax_loss"}
    with pytest.raises(TypeError, match="check affine_forward and affine_backward together"):
        handout.check(affine_backward)
    with pytest.raises(TypeError, match="scale_forward is not part of this assignment; its parts"):
        handout.check(scale_forward)


DECLARED = """
from harness.declare import assignment, pair

affine = pair("affine", "x[N D], w[D M], b[M] -> out", lambda x, w, b: x @ w + b)
ASSIGNMENT = assignment("Layers", [affine])
"""


@pytest.mark.slow
@pytest.mark.proof
def test_they_are_graded_behind_the_wall_and_replayed(tmp_path):
    declare(tmp_path / "course", "layers", DECLARED)
    (tmp_path / "in").mkdir()
    right = inspect.getsource(affine_forward) + "\n" + inspect.getsource(affine_backward)
    right = f"import numpy as np\nfrom layers_assignment import check\n{right}"
    (tmp_path / "in/ann.py").write_text(right)
    (tmp_path / "in/bob.py").write_text(right.replace("x.T @ dout", "x.T @ dout * 2"))
    (tmp_path / "in/eve.py").write_text("def affine_forward(x, w, b):\n    return x @ w + b\n")
    grade = ("grade", "in", "--assignment", "layers", "--course", "course", "--out", "out")
    backprop(*grade, cwd=tmp_path)
    text = (tmp_path / "out/results.jsonl").read_text()
    ann, bob, eve = map(json.loads, text.splitlines())
    assert (ann["score"], eve["score"]) == (10, 0)
    wrong = [check for check in bob["checks"] if check["outcome"] == "failed"]
    assert [check["id"] for check in wrong] == ["affine/gradient/w"]
    assert wrong[0]["diagnosis"]["formula"] == "2 * (x.T @ g)"
    assert "There is no function affine_backward." in eve["checks"][0]["message"]
    replay = ("replay", "out", "bob", "--submissions", "in", "--course", "course")
    assert "Same as recorded: failed." in backprop(*replay, cwd=tmp_path)


@pytest.fixture(scope="module")
def layers():
    use_course(COURSE)
    yield load_assignment("numpy-layers"), read_solution(COURSE / "solutions" / "numpy-layers")
    use_course(None)


def of(layers, data):
    work, _ = layers
    candidate = Workbench(run(statements(data.decode()), {"__name__": "__main__"}), work.pairs)
    return judge(work, candidate).report


@pytest.mark.proof
@pytest.mark.filterwarnings("ignore")
def test_controls_are_pairs_around_classes(layers):
    work, solution = layers
    for said, code in list(controls_for(work))[::9]:
        report = of(layers, solution.followed_by(code))
        assert not failures(report) and report.flags == (), said


@pytest.mark.proof
@pytest.mark.parametrize("name", ["affine", "softmax_loss", "batchnorm"])
def test_every_known_mistake_and_a_sample_of_formulas_is_rejected(layers, name):
    work, solution = layers
    stage = work.stage(name)
    mistakes = list(mistakes_of(stage, solution, claimable(work, stage)))
    formulas = [each for each in formulas_of(stage, solution) if not each.same]
    assert len(mistakes) > 10
    for mutant in mistakes:
        found = failures(of(layers, mutant.data))
        assert set(mutant.claims) <= set(found) if mutant.claims else found, mutant.name
    for mutant in formulas[::9]:
        assert failures(of(layers, mutant.data)), mutant.name
