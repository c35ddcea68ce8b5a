"""Checks beside the gradients meet every given value, and every number of tensors."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch.autograd import Function

from grading.verify.behaviour import same_behaviour
from harness.candidate.workbench import Workbench
from harness.declare import assignment, labels, stage
from harness.judging.judge import judge

TOTAL = stage(
    "Sum",
    "x[N M K], axis, keepdim -> s",
    torch.sum,
    inputs={"axis": [0, 1, -1], "keepdim": [False, True]},
)
JOINED = stage(
    "Concat", "axis, x*[N D] -> z", lambda axis, *x: torch.cat(x, axis), inputs={"axis": [0, 1]}
)
SEEDS = [*range(4), *(pytest.param(seed, marks=pytest.mark.proof) for seed in range(4, 12))]


def failed(declared, function, seed):
    """The checks that the function fails; that of the chain has the stage's name."""
    report = judge(
        assignment("Own", [declared]), Workbench({declared.name: function}), seed=seed
    ).report
    return {
        each.id.partition("/")[2] for each in report.checks if each.outcome in ("failed", "error")
    }


class Sum(Function):
    @staticmethod
    def forward(ctx, x, axis, keepdim):
        ctx.shape, ctx.axis, ctx.keepdim, ctx.dtype = x.shape, axis, keepdim, x.dtype
        return x.sum(axis, keepdim)

    @staticmethod
    def backward(ctx, g):
        g = g if ctx.keepdim else g.unsqueeze(ctx.axis)
        return g.expand(ctx.shape), None, None


class Viewed(Sum):
    @staticmethod
    def backward(ctx, g):
        g = g.view(-1).view(g.shape) if ctx.keepdim else g.unsqueeze(ctx.axis)
        return g.expand(ctx.shape), None, None


class DoubledInFloat32(Sum):
    @staticmethod
    def backward(ctx, g):
        g = g if ctx.keepdim else g.unsqueeze(ctx.axis)
        doubled = ctx.axis == 1 and ctx.dtype == torch.float32
        return g.expand(ctx.shape) * (2 if doubled else 1), None, None


class KeepsTheAxis(Sum):
    axis = 0

    @staticmethod
    def forward(ctx, x, axis, keepdim):
        KeepsTheAxis.axis = axis
        return Sum.forward(ctx, x, axis, keepdim)

    @staticmethod
    def backward(ctx, g):
        ctx.axis = KeepsTheAxis.axis
        return Sum.backward(ctx, g)


class DividesByZero(Sum):
    @staticmethod
    def forward(ctx, x, axis, keepdim):
        ctx.save_for_backward(x)
        return Sum.forward(ctx, x, axis, keepdim)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        spread, *others = Sum.backward(ctx, g)
        return spread * x / x if ctx.axis == 1 else spread, *others


class Concat(Function):
    @staticmethod
    def forward(ctx, axis, *xs):
        ctx.axis, ctx.lengths = axis, [x.shape[axis] for x in xs]
        return torch.cat(xs, axis)

    @staticmethod
    def backward(ctx, g):
        return None, *g.split(ctx.lengths, ctx.axis)


class OnlyWanted(Concat):
    @staticmethod
    def backward(ctx, g):
        parts = zip(g.split(ctx.lengths, ctx.axis), ctx.needs_input_grad[1:], strict=True)
        return None, *(part for part, wanted in parts if wanted)


class EmptiesOne(Concat):
    @staticmethod
    def forward(ctx, axis, *xs):
        ctx.axis, ctx.lengths = axis, [x.shape[axis] for x in xs]
        joined = torch.cat(xs, axis)
        if len(xs) == 1:
            xs[0].detach().zero_()
        return joined


SCALED = stage(
    "Scale",
    "x[N D], w[D], b?[D] -> z",
    lambda x, w, b: x * w if b is None else x * w + b,
)


class Scale(Function):
    @staticmethod
    def forward(ctx, x, w, b):
        ctx.save_for_backward(x, w)
        ctx.has_b = b is not None
        return x * w if b is None else x * w + b

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g * w, (g * x).sum(0), g.sum(0) if ctx.has_b else None


class DoublesWithoutX(Scale):
    @staticmethod
    def backward(ctx, g):
        for_x, for_w, for_b = Scale.backward(ctx, g)
        alone = not ctx.has_b and not ctx.needs_input_grad[0]
        return for_x, for_w * (2 if alone else 1), for_b


class ReturnsOneForNone(Scale):
    @staticmethod
    def backward(ctx, g):
        for_x, for_w, _ = Scale.backward(ctx, g)
        return for_x, for_w, g.sum(0)


LOSS = stage(
    "Loss",
    "s[N K], y[N], reduction -> C",
    lambda s, y, reduction: torch.nn.functional.cross_entropy(s, y, reduction=reduction),
    inputs={"y": labels("K"), "reduction": ["mean", "sum"]},
    extremes={"s": (-800, 800)},
)


class Loss(Function):
    stable: tuple[str, ...] = ("mean", "sum")

    @classmethod
    def forward(cls, ctx, s, y, reduction):
        ctx.save_for_backward(s, y)
        ctx.reduction, ctx.shifts = reduction, reduction in cls.stable
        return torch.nn.functional.cross_entropy(s, y, reduction=reduction)

    @staticmethod
    def backward(ctx, g):
        s, y = ctx.saved_tensors
        powers = (s - s.max(1, keepdim=True).values * ctx.shifts).exp()
        one_hot = torch.nn.functional.one_hot(y, s.shape[1])
        scale = len(y) if ctx.reduction == "mean" else 1
        return g * (powers / powers.sum(1, keepdim=True) - one_hot) / scale, None, None


class OverflowsInSums(Loss):
    stable = ("mean",)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("declared", "function", "fails"),
    [
        (TOTAL, Sum, set()),
        (TOTAL, Viewed, {"layout"}),
        (TOTAL, DoubledInFloat32, {"precision"}),
        (TOTAL, KeepsTheAxis, {"memory"}),
        (TOTAL, DividesByZero, {"special"}),
        (SCALED, Scale, set()),
        (SCALED, DoublesWithoutX, {"subsets"}),
        (SCALED, ReturnsOneForNone, {"scale"}),
        (LOSS, Loss, set()),
        (LOSS, OverflowsInSums, {"stability"}),
        (JOINED, Concat, set()),
        (JOINED, OnlyWanted, {"subsets"}),
        (JOINED, EmptiesOne, {"purity"}),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_what_goes_wrong_for_one_choice_only_fails_under_every_seed(
    declared, function, fails, seed
):
    assert failed(declared, function, seed) == fails


LOG_SUM = stage("LogSumExp", "x[N K], axis -> l", torch.logsumexp, inputs={"axis": [0, 1]})


class SqueezesAll(Function):
    """Right but for one row and one column: it drops every axis of size 1."""

    @staticmethod
    def forward(ctx, x, axis):
        ctx.axis, total = axis, x.logsumexp(axis, keepdim=True)
        ctx.save_for_backward(x, total)
        return total.squeeze()

    @staticmethod
    def backward(ctx, g):
        x, total = ctx.saved_tensors
        return g.unsqueeze(ctx.axis) * (x - total).exp(), None


@pytest.mark.parametrize("seed", range(2))
def test_a_squeeze_of_every_axis_is_wrong_and_verify_knows(seed):
    assert "forward" in failed(LOG_SUM, SqueezesAll, seed)
    assert not same_behaviour(LOG_SUM, Workbench({"LogSumExp": SqueezesAll}))


POOLED = stage(
    "AvgPool2d",
    "x[N C H W], size -> z",
    torch.nn.functional.avg_pool2d,
    inputs={"size": [1, 2, 3]},
    sizes="size <= H, size <= W",
)


def pooling(rest):
    """A pooling whose gradient leaves these rests of the last two axes at zero."""

    class AvgPool2d(Function):
        @staticmethod
        def forward(ctx, x, size):
            ctx.shape, ctx.size = x.shape, size
            return torch.nn.functional.avg_pool2d(x, size)

        @staticmethod
        def backward(ctx, g):
            spread = g.repeat_interleave(ctx.size, 2).repeat_interleave(ctx.size, 3)
            rows, columns = rest(*ctx.shape[2:], ctx.size)
            return torch.nn.functional.pad(spread, (0, columns, 0, rows)) / ctx.size**2, None

    return AvgPool2d


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("rest", "wrong"),
    [
        (lambda h, w, size: (h % size, w % size), set()),
        (lambda h, w, size: (0, w % size), {"gradient/x"}),
        (lambda h, w, size: (h % size, 0), {"gradient/x"}),
        (lambda h, w, size: (h % 2 * (size > 1), w % 2 * (size > 1)), {"gradient/x"}),
    ],
)
def test_a_window_leaves_a_rest_of_every_axis(rest, wrong, seed):
    assert failed(POOLED, pooling(rest), seed) & {"gradient/x"} == wrong


MAX_POOLED = stage(
    "MaxPool2d",
    "x[N C H W], size, stride -> z",
    torch.nn.functional.max_pool2d,
    inputs={"size": [2, 3], "stride": [1, 2, 3]},
    sizes="size <= H, size <= W",
)


def test_every_dimension_is_single_where_some_window_allows_it():
    assert all(any(each[name] == 1 for each in POOLED.sizes) for name in "NCHW")
    assert all(each["H"] > 1 for each in MAX_POOLED.sizes)


def test_every_window_with_every_stride_leaves_a_rest_and_none():
    for size, stride in product((2, 3), (1, 2, 3)):
        for name in "HW":
            rests = {
                (each[name] - size) % stride > 0
                for each in MAX_POOLED.sizes
                if (each["size"], each["stride"]) == (size, stride)
            }
            assert rests == ({False} if stride == 1 else {False, True})


def test_every_choice_is_tried_though_there_are_many():
    many = stage("Shift", "x[N D], k -> z", lambda x, k: x + k, inputs={"k": [*range(-12, 13)]})
    assert {each["k"] for each in many.sizes} == {*range(-12, 13)}


def test_a_whole_number_may_be_larger_than_any_dimension():
    rolled = stage("Roll", "x[N D], k -> z", lambda x, k: x.roll(k, 1), inputs={"k": [1, 100]})
    assert {each["k"] for each in rolled.sizes} == {1, 100}


def test_whole_numbers_divide_every_dimension_and_do_not():
    for name in "NCHW":
        for size in (2, 3):
            rests = {each[name] % size > 0 for each in POOLED.sizes if each["size"] == size}
            assert rests == {False, True}


SCALED_SUM = stage(
    "ScaledSum",
    "axis, scale, x*[N D] -> s",
    lambda axis, scale, *x: sum(x).sum(axis) * scale,
    inputs={"axis": [0, 1, -1], "scale": [2, 0]},
)


class FirstOfThree(Function):
    """The gradients of ScaledSum, but for the last of three tensors summed along -1."""

    doubles = False

    @staticmethod
    def forward(ctx, axis, scale, *x):
        ctx.axis, ctx.scale, ctx.shape, ctx.count = axis, scale, x[0].shape, len(x)
        return sum(x).sum(axis) * scale

    @classmethod
    def backward(cls, ctx, g):
        each = g.unsqueeze(ctx.axis).expand(ctx.shape) * ctx.scale
        wrong = cls.doubles and ctx.axis == -1 and ctx.count == 3
        return None, None, *[each] * (ctx.count - 1), each * (2 if wrong else 1)


class DoublesTheThird(FirstOfThree):
    doubles = True


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("function", [FirstOfThree, DoublesTheThird])
def test_a_given_value_of_0_does_not_hide_what_two_choices_do(function, seed):
    wrong = {"gradient/x"} if function.doubles else set()
    assert failed(SCALED_SUM, function, seed) & {"gradient/x"} == wrong


def test_every_dimension_is_single_with_every_choice_that_is_not_hidden():
    for name, choice in product("ND", (("axis", 0), ("axis", 1), ("axis", -1), ("x*", 2))):
        at, value = choice
        assert any(
            each[name] == 1 and each[at] == value and each["scale"] for each in SCALED_SUM.sizes
        )


def test_every_window_meets_every_stride_though_there_are_many():
    many = stage(
        "Steps",
        "x[N L], size, stride -> z",
        lambda x, size, stride: x.unfold(1, size, stride).sum(2),
        inputs={"size": [1, 2, 3, 4, 5], "stride": [1, 2, 3, 4, 5]},
        sizes="size <= L",
    )
    assert {(each["size"], each["stride"]) for each in many.sizes} == {
        *product(range(1, 6), repeat=2)
    }


def test_pairs_meet_as_far_as_conditions_between_given_values_allow_it():
    transposed = stage(
        "ConvTranspose1d",
        "x[N C L], w[C F R], stride, padding, out -> z",
        lambda x, w, stride, padding, out: torch.nn.functional.conv_transpose1d(
            x, w, None, stride, padding, out
        ),
        inputs={"stride": [1, 2, 3], "padding": [0, 1], "out": [0, 1, 2]},
        sizes="out < stride, (L - 1) * stride + R - 2 * padding > 0",
    )
    pooled = stage(
        "AvgPool1d",
        "x[N C L], size, stride, padding -> z",
        torch.nn.functional.avg_pool1d,
        inputs={"size": [1, 2, 3], "stride": [1, 2], "padding": [0, 1]},
        sizes="2 * padding <= size, size <= L + 2 * padding",
    )
    met = {(each["stride"], each["padding"]) for each in transposed.sizes}
    assert met == {*product((1, 2, 3), (0, 1))}
    met = {(each["stride"], each["out"]) for each in transposed.sizes}
    assert met == {(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2)}
    met = {(each["size"], each["stride"]) for each in pooled.sizes}
    assert met == {*product((1, 2, 3), (1, 2))}


def test_of_few_combinations_all_are_tried():
    dropout = stage(
        "Dropout",
        "x[N D], p, inverted, training -> z",
        lambda x, p, inverted, training: x * (1 - p) if inverted and training else x,
        inputs={"p": [0.2, 0.5, 0.7], "inverted": [False, True], "training": [False, True]},
    )
    met = {(each["p"], each["inverted"], each["training"]) for each in dropout.sizes}
    assert met == {*product((0.2, 0.5, 0.7), (False, True), (False, True))}


def test_of_very_many_combinations_every_choice_is_tried():
    names = "abcdef"
    many = stage(
        "Mix",
        f"x[N D], {', '.join(names)} -> z",
        lambda x, *given: x * sum(given),
        inputs={name: [1, 2, 3, 4] for name in names},
    )
    assert all({each[name] for each in many.sizes} == {1, 2, 3, 4} for name in names)


def test_pairs_meet_while_an_optional_tensor_is_there():
    weighted = stage(
        "Weighted",
        "x[N D], w?[N D], axis, keepdim -> s",
        lambda x, w, axis, keepdim: (x if w is None else x * w).sum(axis, keepdim),
        inputs={"axis": [0, 1, -1], "keepdim": [False, True]},
    )
    met = {(each["axis"], each["keepdim"]) for each in weighted.sizes if each["w?"]}
    assert met == {*product((0, 1, -1), (False, True))}


ALONG = {"axis": [0, 1, -1]}
SUM = stage("Sum", "x[N K], axis -> s", lambda x, axis: x.sum(axis), inputs=ALONG)
LOG_SOFTMAX = stage("LogSoftmax", "x[N K], axis -> p", torch.log_softmax, inputs=ALONG)


class GuessesTheAxis(Function):
    """A sum that looks at lengths for the axis, which are equal where x is square."""

    @staticmethod
    def forward(ctx, x, axis):
        ctx.shape = x.shape
        return x.sum(axis)

    @staticmethod
    def backward(ctx, g):
        g = g if len(g) == ctx.shape[1] else g[:, None]
        return g.expand(ctx.shape), None


class ForgetsTheAxis(Function):
    """A log-softmax that takes one column for one class, also along the first axis."""

    @staticmethod
    def forward(ctx, x, axis):
        ctx.axis, logarithms = axis, x.log_softmax(axis)
        ctx.save_for_backward(logarithms)
        return logarithms

    @staticmethod
    def backward(ctx, g):
        (logarithms,) = ctx.saved_tensors
        if g.shape[1] == 1:
            return torch.zeros_like(g), None
        return g - logarithms.exp() * g.sum(ctx.axis, keepdim=True), None


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("declared", "function"), [(SUM, GuessesTheAxis), (LOG_SOFTMAX, ForgetsTheAxis)]
)
def test_equal_and_single_sizes_meet_every_choice(declared, function, seed):
    assert "gradient/x" in failed(declared, function, seed)


def test_sizes_keep_to_conditions_that_ask_for_whole_parts():
    heads = stage(
        "Heads",
        "x[N D], heads -> z",
        lambda x, heads: x.reshape(len(x), heads, -1).sum(1),
        inputs={"heads": [1, 2, 3]},
        sizes="D % heads == 0",
    )
    assert all(each["D"] % each["heads"] == 0 for each in heads.sizes)
    assert {each["N"] % 3 > 0 for each in heads.sizes if each["heads"] == 3} == {False, True}
