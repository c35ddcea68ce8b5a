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
    assert "Here g is dout." in check.message


def test_where_there_is_no_upstream_formulas_have_none():
    def softmax_loss(x, y):
        loss, dx = RIGHT["softmax_loss"](x, y)
        return loss, dx * len(x)

    found = failures(judged(LOSS, softmax_loss=softmax_loss))
    check = found["softmax_loss/gradient/x"]
    assert check.diagnosis
    assert check.diagnosis.formula == "softmax(x, 1) - one_hot(y, C)"
    assert check.diagnosis.expected == "(softmax(x, 1) - one_hot(y, C)) / N"


@pytest.mark.slow
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
        (
            {"affine_forward": lambda x, w, b: x @ w + b},
            "affine_forward returned a single array, not an output and a cache",
        ),
        (
            {"affine_forward": lambda x, w, b: {"out": x @ w + b}},
            "affine_forward returned a dict, not an output and a cache",
        ),
        (
            {"affine_backward": lambda d, c: (d, d)},
            "affine_backward returned 2 values, not the gradients of x, w, b",
        ),
        (
            {"affine_backward": lambda d, c: (each for each in RIGHT["affine_backward"](d, c))},
            "affine_backward returned a generator, not the gradients of x, w, b",
        ),
    ],
)
def test_what_cannot_be_called_is_said(changed, said):
    found = failures(judged(AFFINE, **changed))
    assert any(said in check.message for check in found.values())


def test_a_change_of_dout_in_place_is_seen():
    def affine_backward(dout, cache):
        dout *= 2
        dx, dw, db = RIGHT["affine_backward"](dout, cache)
        return dx / 2, dw / 2, db / 2

    assert set(failures(judged(AFFINE, affine_backward=affine_backward))) == {"affine/purity"}


def test_messages_are_about_functions_and_arrays():
    """Not about classes, torch's ctx, or what torch does with a gradient."""
    kept: list[np.ndarray] = []

    def forgets(x, w, b):
        kept[:] = [x, w]
        return RIGHT["affine_forward"](x, w, b)

    def remembers(dout, cache):
        x, w = kept
        return dout @ w.T, x.T @ dout, dout.sum(axis=0)

    def by_32(dout, cache):
        found = RIGHT["affine_backward"](dout, cache)
        return tuple(each * (1 if each.dtype == np.float64 else 2) for each in found)

    def summed(dout, cache):
        return (*RIGHT["affine_backward"](dout, cache)[:2], dout.sum(axis=1))

    def listed(dout, cache):
        return (*RIGHT["affine_backward"](dout, cache)[:2], [1.0])

    def stops(dout, cache):
        raise ValueError("no")

    reports = [
        judged(AFFINE, affine_forward=forgets, affine_backward=remembers),
        *(judged(AFFINE, affine_backward=each) for each in (by_32, summed, listed, stops)),
    ]
    told = [check.message for report in reports for check in failures(report).values()]
    assert "Keep what backward needs in the cache, not in a global" in told[0]
    assert any("affine_backward: ∂C/∂x is wrong for inputs in float32" in each for each in told)
    assert any("returned shape (5,) for b, which has shape (7,)." in each for each in told)
    assert any("returned a list for b where an array belongs" in each for each in told)
    assert any("affine_backward raised ValueError" in each for each in told)
    for strange in ("ctx", "class", "torch", "tensor", "affine.", "affineBackward"):
        assert not [each for each in told if strange in each]


LSTM = pair("cell", "x[N H], c[N H] -> h, kept", lambda x, c: ((x * c).tanh(), x + c))


def test_of_several_outputs_each_has_its_upstream():
    def cell_forward(x, c):
        h = np.tanh(x * c)
        return h, x + c, (x, c, h)

    def cell_backward(dh, dkept, cache):
        x, c, h = cache
        inside = dh * (1 - h**2)
        return inside * c + dkept, inside * x + dkept

    def wrong(dh, dkept, cache):
        dx, dc = cell_backward(dh, dkept, cache)
        return dx, dc - dkept

    assert not failures(judged(LSTM, cell_forward=cell_forward, cell_backward=cell_backward))
    together = {"cell_forward": lambda x, c: (cell_forward(x, c)[:2], cell_forward(x, c)[2])}
    assert not failures(judged(LSTM, **together, cell_backward=cell_backward))
    found = failures(judged(LSTM, cell_forward=cell_forward, cell_backward=wrong))
    assert set(found) == {"cell/gradient/c"}


def test_whole_numbers_from_forward_do_not_cost_the_gradients():
    def rounded(x, w, b):
        return (x @ w + b).astype(int), (x, w, b)

    assert set(failures(judged(AFFINE, affine_forward=rounded))) == {"affine/forward"}


def test_odd_arrays_are_read_as_what_they_hold():
    """Reversed, of other byte orders, and of more digits; one of objects is none of numbers."""

    def odd(dout, cache):
        dx, dw, db = RIGHT["affine_backward"](dout, cache)
        return dx[::-1][::-1, ::-1][:, ::-1], dw.astype(">f8"), db.astype(np.longdouble)

    def objects(dout, cache):
        dx, dw, db = RIGHT["affine_backward"](dout, cache)
        return dx, dw, db.astype(object)

    assert not failures(judged(AFFINE, affine_backward=odd))
    found = failures(judged(AFFINE, affine_backward=objects))
    assert set(found) == {"affine/gradient/b"}
    assert "returned an array of objects for b" in found["affine/gradient/b"].message


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
    few = right.replace(", dout.sum(axis=0)", "")
    assert few != right
    (tmp_path / "in/fay.py").write_text(few)
    (tmp_path / "in/gus.py").write_text(right.replace("return dout @", "yield dout @"))
    (tmp_path / "in/eve.py").write_text("def affine_forward(x, w, b):\n    return x @ w + b\n")
    grade = ("grade", "in", "--assignment", "layers", "--course", "course", "--out", "out")
    backprop(*grade, cwd=tmp_path)
    text = (tmp_path / "out/results.jsonl").read_text()
    ann, bob, eve, fay, gus = map(json.loads, text.splitlines())
    assert (ann["score"], eve["score"]) == (10, 0)
    wrong = [check for check in bob["checks"] if check["outcome"] == "failed"]
    assert [check["id"] for check in wrong] == ["affine/gradient/w"]
    assert wrong[0]["diagnosis"]["formula"] == "2 * (x.T @ g)"
    assert "There is no function affine_backward." in eve["checks"][0]["message"]
    for each, what in ((fay, "2 values"), (gus, "a generator")):
        said = [check["message"] for check in each["checks"] if check["outcome"] == "failed"]
        assert all(f"returned {what}, not the gradients of x, w, b." in text for text in said)
        assert said
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
    for mutant in formulas[::27]:
        assert failures(of(layers, mutant.data)), mutant.name
