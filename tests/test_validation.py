"""A declaration that cannot be used is refused with one sentence that says where and what."""

from __future__ import annotations

import re

import pytest
import torch
from click.testing import CliRunner

from grading.cli import main
from harness.course.assignments import SHIPPED, load_assignment, use_course
from harness.declare import (
    Mistake,
    assignment,
    buffer,
    indices,
    labels,
    mask,
    positive,
    simplex,
    stage,
    target,
)
from harness.errors import UserError
from harness.judging.validation import validate


def refused(name, signature, forward, **more):
    """What is said about an assignment of one stage, without file and line."""
    declared = assignment("Own", [stage(name, signature, forward, **more)])
    with pytest.raises(UserError) as caught:
        validate(declared)
    found = re.fullmatch(r"(.*?, line \d+): (.*)", str(caught.value))
    assert found, caught.value
    where, said = found.groups()
    assert where.startswith("tests/test_validation.py")
    assert "\n" not in said and said[-1] in ".?"
    return said


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_assignments_are_valid(name):
    validate(load_assignment(name))


def batch_norm(x, mean):
    mean += 0.1 * (x.mean(0).detach() - mean)
    return (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()


COSINE = stage(
    # In one dimension its gradient is 0, of which rounding leaves another zero each time.
    "Cosine",
    "u[N D], v[N D] -> c",
    lambda u, v: (u * v).sum(1) / (u.norm(dim=1) * v.norm(dim=1)),
    where={
        "a": "u / norm(u, dim=1, keepdim=True)",
        "b": "v / norm(v, dim=1, keepdim=True)",
        "k": "sum(a * b, 1, keepdim=True)",
    },
    gradients={
        "u": "g[:, None] * (b - k * a) / norm(u, dim=1, keepdim=True)",
        "v": "g[:, None] * (a - k * b) / norm(v, dim=1, keepdim=True)",
    },
)
VALID = [
    COSINE,
    stage("ReLU", "z[N K] -> a", torch.relu, gradients={"z": "g * (z > 0)"}),
    stage("Log", "x[N] -> y", torch.log, inputs={"x": positive()}, gradients={"x": "g / x"}),
    stage("Look", "i[N], t[V D] -> x", lambda i, t: t[i], inputs={"i": indices("V")}),
    stage("Drop", "x[N], m[N] -> y", torch.mul, inputs={"m": mask()}, gradients={"x": "g * m"}),
    stage("BatchNorm", "x[N D], mean[D] -> h", batch_norm, inputs={"mean": buffer()}),
    stage("Norm", "x[N D] -> h", lambda x: torch.nn.functional.layer_norm(x, x.shape[1:])),
    stage("Parts", "x[N D] -> s, m", lambda x: (x.sum(0), x.amax(0)), gradients={}),
    stage("Cat", "axis, x*[N D] -> z", lambda axis, *x: torch.cat(x, axis), inputs={"axis": [0]}),
    stage(
        "Entropy",
        "s[N K], y[N K] -> C",
        torch.nn.functional.cross_entropy,
        inputs={"y": target(simplex())},
        where={"p": "softmax(s, 1)"},
        gradients={"s": "g * (p - y) / N"},
    ),
    stage(
        "Linear",
        "x[N D], w[K D], b?[K] -> z",
        torch.nn.functional.linear,
        gradients={"x": "g @ w", "w": "g.T @ x", "b": "g.sum(0)"},
    ),
]


@pytest.mark.parametrize("declared", VALID, ids=lambda each: each.name)
def test_stages_of_many_kinds_are_valid(declared):
    validate(assignment("Own", [declared]))


def test_a_gradient_that_is_not_the_gradient_is_shown_with_both_values():
    said = refused("ReLU", "z[N K] -> a", torch.relu, gradients={"z": "g * z"})
    assert re.fullmatch(
        r"ReLU: the gradient of z, g \* z, is not ∂C/∂z: it gives \S+ at \[0, 0\], and built-in "
        r"autograd \S+, at N = \d+, K = \d+\.",
        said,
    )


def test_a_gradient_of_another_shape_is_shown_with_both_shapes():
    said = refused("Sum", "x[N K] -> s", torch.sum, gradients={"x": "g"})
    assert re.fullmatch(r"Sum: the gradient of x, g, has shape \(\), and x has \(\d, \d\)\.", said)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("g * q", "NameError: unknown name q in g * q"),
        ("g @ z @ z", "RuntimeError"),
        ("1", "the gradient of z, 1, is not a tensor"),
    ],
)
def test_a_gradient_that_cannot_be_evaluated_is_refused(expression, said):
    assert said in refused("ReLU", "z[N K] -> a", torch.relu, gradients={"z": expression})


def in_place(z):
    return z.mul_(2)


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (torch.dropout_, "forward raises TypeError"),
        (lambda z: (z, z), "forward returns 2 values, and the signature says a"),
        (lambda z: 3.0, "forward returns a float for a, not a tensor"),
        (lambda z: z + 1j, "a is complex, which is not supported"),
        (lambda z: z.to_sparse(), "a is sparse, which is not supported"),
        (lambda z: torch.where(z > 0, 1.0, 0.01), "returns float32 for a where the inputs are fl"),
        (lambda z: z.log(), "forward gives nan for a, at N = 5, K = 3: does an input need a kind"),
        (lambda z: z * torch.rand(()), "forward gives another result each time"),
        (lambda z: in_place(z) + 0, "forward changes z in place"),
        (lambda z: z.detach() * 2, "torch cannot trace the outputs to the inputs"),
        (lambda z: z.argmax(1), "no output holds real numbers"),
        (lambda z: z @ torch.ones(z.shape[1], dtype=torch.double), "given float32, raises"),
        (lambda z: z[:, 3], "forward raises IndexError"),
        (lambda z: (z - z).sqrt() + z, "built-in autograd gives nan for ∂C/∂z"),
    ],
)
def test_a_forward_that_cannot_be_judged_is_refused(forward, said):
    assert said in refused("Odd", "z[N K] -> a", forward)


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (Mistake("none", {"z": "(z > 0) * g"}, hint="?"), "the mistake none is none: (z > 0) * g"),
        (Mistake("odd", {"z": "g * q"}, hint="?"), "the mistake odd: unknown name q in g * q"),
        (
            Mistake("lost", code="pass", hint="?", rejected_by=("stability",)),
            "the mistake lost claims stability, which is not a check of this stage",
        ),
    ],
)
def test_a_mistake_that_is_none_is_refused(mistake, said):
    more = {"gradients": {"z": "g * (z > 0)"}, "mistakes": [mistake]}
    assert said in refused("ReLU", "z[N K] -> a", torch.relu, **more)


def test_labels_beyond_the_classes_are_a_fault_of_the_declaration():
    nll = torch.nn.functional.nll_loss
    said = refused("NLL", "l[N K], y[N] -> C", nll, inputs={"y": labels(20)})
    assert said.startswith("NLL: forward raises IndexError: Target 19 is out of bounds")


WRONG = """
import torch

from harness.declare import assignment, stage

relu = stage("ReLU", "z[N K] -> a", torch.relu, gradients={"z": "g * z"})
ASSIGNMENT = assignment("Rectifiers", [relu])
"""


@pytest.mark.slow
def test_nothing_is_verified_or_graded_with_a_wrong_declaration(tmp_path, monkeypatch):
    folder = tmp_path / "solutions" / "rectifiers"
    folder.mkdir(parents=True)
    (folder / "assignment.py").write_text(WRONG)
    (folder / "rectifiers.py").write_text("x = 1\n")
    handed_in = tmp_path / "in"
    handed_in.mkdir()
    (handed_in / "alice.py").write_text("x = 1\n")
    monkeypatch.chdir(tmp_path)
    out = str(tmp_path / "out")
    for command in (
        ["verify", "rectifiers"],
        ["grade", str(handed_in), "--assignment", "rectifiers", "--out", out],
    ):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 2, done.output
        said = " ".join(done.output.split())
        assert "rectifiers/assignment.py, line 6: ReLU: the gradient of z, g * z, is not" in said
    use_course(None)
