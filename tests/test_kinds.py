"""Every check means something for inputs and outputs of every kind, and skips what it cannot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from harness.candidate.workbench import Workbench
from harness.cases.cases import layout_cases, make_case
from harness.cases.special_cases import special_cases
from harness.course.stage import Stage
from harness.declare import (
    assignment,
    buffer,
    constant,
    indices,
    labels,
    mask,
    positive,
    real,
    simplex,
    stage,
    target,
)
from harness.judging.judge import judge

SEEDS = (2, *(pytest.param(seed, marks=pytest.mark.proof) for seed in (3, 4)))


def right(
    own: Stage, spoil: Any = lambda gradients, inputs, upstream: gradients, forward: Any = ()
):
    """A class whose backward is right by built-in autograd, but for what spoils it."""

    class Solved(Function):
        @staticmethod
        def forward(ctx, *inputs):
            ctx.set_materialize_grads(False)
            ctx.inputs = inputs
            return (forward or own.forward)(*inputs)

        @staticmethod
        def backward(ctx, *upstream):
            found = own.true_gradients(ctx.inputs, upstream)
            return spoil(tuple(found), ctx.inputs, upstream)

    return Solved


def missed(own: Stage, candidate: type[Function], seed: int = 3) -> dict[str, str]:
    """The checks that are not passed, without those that wait for others."""
    report = judge(assignment("Own", [own]), Workbench({own.name: candidate}), seed=seed).report
    assert sum(check.max_points for check in report.checks) == pytest.approx(10)
    return {
        check.id.removeprefix(f"{own.slug}/"): check.outcome
        for check in report.checks
        if check.outcome not in ("passed", "not_run")
    }


conv = stage(
    "Conv",
    "x[N C L], w[F C R], b?[F], stride, padding -> z",
    F.conv1d,
    inputs={"stride": [1, 2], "padding": [0, 1]},
    sizes="R <= L + 2 * padding",
)
embedding = stage("Embedding", "i[N T], table[V D] -> e", F.embedding, inputs={"i": indices("V")})
loss = stage("Loss", "s[N K], y[N] -> C", F.cross_entropy, inputs={"y": labels("K")})


def two(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    u = x @ w
    return torch.tanh(u), u.sum(1)


pair = stage("Pair", "x[N D], w[D K] -> h, s", two)
ranked = stage("Ranked", "x[N K] -> v, i", lambda x: x.max(1))
joined = stage("Joined", "axis, x*[N D] -> z", lambda axis, *x: torch.cat(x, axis),
               inputs={"axis": [0, 1]})  # fmt: skip
likelihood = stage(
    "Likelihood",
    "p[N K], y[N K], share[N] -> C",
    lambda p, y, share: -(share[:, None] * y * p.log()).sum(),
    inputs={"p": simplex(), "y": target(simplex()), "share": real(0, 1)},
)
dropout = stage("Dropout", "x[N D], keep[N D], p -> a", lambda x, keep, p: x * keep / (1 - p),
                inputs={"keep": mask(), "p": [0.5, 0.2]})  # fmt: skip


def moving(x: Tensor, gamma: Tensor, mean: Tensor) -> Tensor:
    mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
    return gamma * (x - x.mean(0))


centre = stage(
    "Centre",
    "x[N D], gamma[D], mean[D] -> h",
    moving,
    inputs={"gamma": constant(), "mean": buffer()},
)
EVERY = [conv, embedding, loss, pair, ranked, joined, likelihood, dropout, centre]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("own", EVERY, ids=lambda own: own.name)
def test_what_is_right_passes_every_check(own, seed):
    assert not missed(own, right(own), seed)


def doubled(*places):
    return lambda gradients, inputs, upstream: tuple(
        2 * each if at in places else each for at, each in enumerate(gradients)
    )


def without_bias(gradients, inputs, upstream):
    return tuple(gradients) if inputs[2] is not None else (2 * gradients[0], *gradients[1:])


def for_stride_one(gradients, inputs, upstream):
    return gradients if inputs[3] == 1 else (gradients[0], 0 * gradients[1], *gradients[2:])


def with_padding_and_stride(gradients, inputs, upstream):
    together = inputs[3] == 2 and inputs[4] == 1
    return (gradients[0] * (2 if together else 1), *gradients[1:])


def last_wins(gradients, inputs, upstream):
    words, table = inputs
    found = torch.zeros_like(table)
    found[words.flatten()] = upstream[0].flatten(0, 1)
    return None, found


def needs_both(gradients, inputs, upstream):
    return gradients if None not in upstream else tuple(map(torch.zeros_like, gradients))


def needs_the_first(gradients, inputs, upstream):
    assert upstream[0] is not None
    return gradients


def of_three(gradients, inputs, upstream):
    return gradients if len(gradients) == 4 else (None, *(2 * each for each in gradients[1:]))


WRONG = [
    (conv, doubled(1), {"gradient/w": "failed"}),
    (conv, doubled(2), None),  # raises where b is None
    (conv, without_bias, {"gradient/x": "failed"}),
    (conv, for_stride_one, {"gradient/w": "failed"}),
    (conv, with_padding_and_stride, {"gradient/x": "failed"}),
    (embedding, last_wins, {"gradient/table": "failed"}),
    (loss, doubled(0), {"gradient/s": "failed"}),
    (pair, needs_both, {"gradient/x": "failed", "gradient/w": "failed"}),
    (pair, needs_the_first, {"gradient/x": "error", "gradient/w": "error"}),
    (ranked, doubled(0), {"gradient/x": "failed"}),
    (joined, of_three, {"gradient/x": "failed"}),
    (likelihood, doubled(0), {"gradient/p": "failed"}),
    (likelihood, doubled(1), {"gradient/y": "failed"}),
    (dropout, doubled(0), {"gradient/x": "failed"}),
    (centre, doubled(0), {"gradient/x": "failed"}),
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("own", "spoil", "wanted"), WRONG)
def test_what_is_wrong_for_some_of_them_fails(own, spoil, wanted, seed):
    found = missed(own, right(own, spoil), seed)
    if wanted is None:
        assert found and all(id.startswith("gradient/") for id in found)
    else:
        assert found == wanted


def test_a_target_may_have_no_gradient_and_others_may_not():
    def without(at):
        return lambda gradients, inputs, upstream: tuple(
            None if place == at else each for place, each in enumerate(gradients)
        )

    assert not missed(likelihood, right(likelihood, without(1)))
    assert missed(likelihood, right(likelihood, without(2))) == {"gradient/share": "failed"}


def test_a_forward_may_change_a_buffer_and_not_a_constant():
    def changing(x, gamma, mean):
        gamma.mul_(1.5)
        return moving(x, gamma / 1.5, mean)

    def spoil(gradients, inputs, upstream):
        return (gradients[0] / 1.5, None, None)

    assert "purity" not in missed(centre, right(centre))
    found = missed(centre, right(centre, spoil, forward=changing))
    assert found["purity"] == "failed"


def test_a_special_value_stays_in_its_domain():
    for seed in range(4):
        for case in special_cases(likelihood, seed, likelihood.sizes[1]):
            p, y, share = (value for value in case.inputs if isinstance(value, Tensor))
            assert all(bool((rows > 0).all()) for rows in (p, y))
            assert torch.allclose(p.sum(1), torch.ones_like(p.sum(1)))
            assert bool((share >= 0).all() and (share <= 1).all())
    kinds = {case.kind for case in special_cases(dropout, 1, dropout.sizes[0])}
    assert "all entries of keep are the same" in kinds


def test_every_part_of_several_outputs_is_used():
    three = stage("Three", "x[N] -> a, b, c", lambda x: (x, x * x, x**3))
    case = make_case(three, 3, three.sizes[0], 0)
    parts = {tuple(each is not None for each in upstream) for upstream in case.upstreams}
    assert len(parts) == 7 and (False, False, False) not in parts
    kinds = [
        tuple(each is not None for each in case.upstreams[0])
        for case in special_cases(three, 3, three.sizes[0])
    ]
    assert len(set(kinds)) > 1


def test_any_two_axes_of_a_tensor_are_swapped_in_memory():
    four = stage("Four", "x[A B C D] -> z", lambda x: x * x)
    strides = set()
    for seed in range(30):
        (value,) = layout_cases(four, seed, four.sizes[0])[0].inputs
        assert isinstance(value, Tensor) and not value.is_contiguous()
        strides.add(value.stride())
    assert len(strides) == 6


def test_a_reference_that_refuses_some_values_is_tried_on_others():
    inverse = stage(
        "Inverse",
        "a[N N] -> b",
        torch.linalg.inv,
        inputs={"a": real(sampler=lambda g, shape, variant: torch.eye(*shape).double()
                          + 0.1 * torch.randn(shape, generator=g, dtype=torch.float64))},
    )  # fmt: skip
    assert not missed(inverse, right(inverse))
    assert len(special_cases(inverse, 1, inverse.sizes[0])) > 0


def normal(x: Tensor, eps: float = 1e-12) -> Tensor:
    return (x - x.mean(1, keepdim=True)) / (x.var(1, correction=0, keepdim=True) + eps).sqrt()


def nearly_equal(generator, shape, variant):
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return 100 + 1e-4 * values


class Norm(Function):
    """In another form than the reference: as good, and as little exact where values are equal."""

    @staticmethod
    def forward(ctx, x):
        centred = x - x.sum(1, keepdim=True) / x.shape[1]
        r = 1 / ((centred * centred).sum(1, keepdim=True) / x.shape[1] + 1e-12).sqrt()
        ctx.save_for_backward(centred * r, r)
        return centred * r

    @staticmethod
    def backward(ctx, g):
        n, r = ctx.saved_tensors
        return r * (g - g.mean(1, keepdim=True) - n * (g * n).mean(1, keepdim=True))


class RoundedNorm(Norm):
    @staticmethod
    def backward(ctx, g):
        return Norm.backward(ctx, g).float().double()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_precision_asks_for_no_more_than_the_reference_has(seed):
    near = stage(
        "Norm", "x[N D] -> h", normal, inputs={"x": real(sampler=nearly_equal)}, sizes="D >= 3"
    )
    ids = ["norm/forward", "norm/gradient/x", "norm/precision", "norm/special"]
    own = assignment("Own", [near])
    report = judge(own, Workbench({"Norm": Norm}), seed=seed, only=ids).report
    assert report.passed, [(check.id, check.message) for check in report.checks]
    report = judge(own, Workbench({"Norm": RoundedNorm}), seed=seed, only=ids).report
    assert [check.id for check in report.checks if check.outcome == "failed"] == ["norm/precision"]


relu = stage("ReLU", "z[N K] -> a", torch.relu)
maximum = stage("Maximum", "x[N K], y[N K] -> z", torch.maximum)
largest = stage("Largest", "x[N K], axis -> m", torch.amax, inputs={"axis": [0, 1]})
pool = stage("Pool", "x[N H W] -> z", lambda x: F.max_pool2d(x, 2), sizes="H >= 2, W >= 2")
root = stage("Root", "x[N] -> r", torch.sqrt, inputs={"x": positive()})


def at_zero(value):
    return lambda gradients, inputs, upstream: (
        torch.where(inputs[0] == 0, value * upstream[0], gradients[0]),
    )


def all_to_the_first(gradients, inputs, upstream):
    x, y = inputs
    first = x >= y
    return upstream[0] * first, upstream[0] * ~first


def all_to_both(gradients, inputs, upstream):
    x, y = inputs
    return upstream[0] * (x >= y), upstream[0] * (y >= x) * (1 + 2 * (x == y))


def first_of_the_largest(gradients, inputs, upstream):
    x, axis = inputs
    place = x.argmax(axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, place, upstream[0].unsqueeze(axis)), None


def last_of_the_pool(gradients, inputs, upstream):
    (x,) = inputs
    height, width = (2 * (side // 2) for side in x.shape[1:])
    turned = x[:, :height, :width].flip(1, 2).clone().requires_grad_()
    with torch.enable_grad():
        pooled = F.max_pool2d(turned, 2)
    (found,) = torch.autograd.grad(pooled, turned, upstream[0].flip(1, 2))
    return F.pad(found.flip(1, 2), (0, x.shape[2] - width, 0, x.shape[1] - height))


TIES = [
    (relu, at_zero(1.0), True),
    (relu, at_zero(0.3), True),
    (relu, at_zero(1.5), False),
    (maximum, all_to_the_first, True),
    (maximum, all_to_both, False),
    (largest, first_of_the_largest, True),
    (pool, last_of_the_pool, True),
    (root, at_zero(1.0), True),
]


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("own", "spoil", "passes"), TIES)
def test_at_a_kink_any_slope_between_those_on_both_sides_is_right(own, spoil, passes, seed):
    found = missed(own, right(own, spoil), seed)
    assert found == ({} if passes else {"special": "failed"})


@pytest.mark.parametrize("seed", SEEDS)
def test_with_ties_as_in_the_reference_only_its_own_slope_is_right(seed):
    strict = stage("ReLU", "z[N K] -> a", torch.relu, ties="reference")
    assert not missed(strict, right(strict), seed)
    assert missed(strict, right(strict, at_zero(1.0)), seed) == {"special": "failed"}


def test_a_declared_gradient_that_is_more_exact_than_the_reference_loses_no_digits():
    softplus = stage(
        "Softplus",
        "z[N] -> a",
        F.softplus,
        inputs={"z": real(sampler=lambda g, shape, variant: torch.full(shape, 20.5).double())},
        gradients={"z": "g * sigmoid(z)"},
    )

    def exact(gradients, inputs, upstream):
        return (upstream[0] * torch.sigmoid(inputs[0]),)

    assert "precision" not in missed(softplus, right(softplus, exact))
