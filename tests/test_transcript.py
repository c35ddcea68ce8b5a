"""A failed check's record makes its inputs again, and what came is shown beside what is right."""

from __future__ import annotations

import pytest
import torch

from grading.replay.moments import largest_difference, moment_lines, named
from grading.replay.transcript import Transcript, case_again
from harness.candidate.operations import Absent, Observe
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment
from harness.judging.judge import judge
from tests.right import MANY, ONE, Sigmoid, SquaredError, WeightedSum, with_backward, with_forward

MANY_NEURONS = load_assignment("many-neurons")
ONE_NEURON = load_assignment("one-neuron")


def judged(names, assignment=MANY_NEURONS):
    """The failed checks of a candidate with what each saw."""
    transcript = Transcript(assignment, Workbench(names))
    report = judge(assignment, transcript, seed=3, begin=transcript.begin).report
    # All that fail but the training, which has no case of its own.
    return {
        check.id: (check, transcript.moments(check.id, check.case))
        for check in report.checks
        if check.case
    }


class Silent(Workbench):
    """Gives no testimony."""

    def perform(self, operations):
        silent = isinstance(operations[-1], Observe)
        return [Absent("silent")] * len(operations) if silent else super().perform(operations)


def slope(ctx):
    (a,) = ctx.saved_tensors
    return a * (1 - a)


def raises(ctx, g):
    raise ValueError("no idea")


def in_place(ctx, g):
    result = g * slope(ctx)
    g.zero_()
    return result


def contiguous_only(ctx, g):
    return (g.view(-1) * slope(ctx).reshape(-1)).view(g.shape)


def for_small_batches(ctx, g):
    return g * slope(ctx) * (1 if len(g) < 7 else 2)


def forgetful(ctx, g):
    a_prev, w = ctx.saved_tensors
    return g @ w, g.T @ a_prev if ctx.needs_input_grad[0] else None, g.sum(0)


def overflowing():
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return torch.sigmoid(z)

    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * torch.exp(z) / (1 + torch.exp(z)) ** 2

    return with_forward(with_backward(Sigmoid, backward), forward)


def kept_in_the_class():
    kept = {}

    def forward(ctx, z):
        kept["a"] = torch.sigmoid(z)
        return kept["a"].clone()

    return with_forward(
        with_backward(Sigmoid, lambda ctx, g: g * kept["a"] * (1 - kept["a"])), forward
    )


WRONG = {
    "sigmoid/gradient/z": {"Sigmoid": with_backward(Sigmoid, lambda ctx, g: g.abs() * slope(ctx))},
    "sigmoid/forward": {"Sigmoid": with_forward(Sigmoid, lambda ctx, z: torch.tanh(z))},
    "weighted-sum/gradient/b": {
        "WeightedSum": with_backward(
            WeightedSum, lambda ctx, g: (*WeightedSum.backward(ctx, g)[:2], g)
        )
    },
    "squared-error/gradient/a": {"SquaredError": with_backward(SquaredError, raises)},
    "sigmoid/precision": {
        "Sigmoid": with_backward(Sigmoid, lambda ctx, g: (g * slope(ctx)).float())
    },
    "sigmoid/layout": {"Sigmoid": with_backward(Sigmoid, contiguous_only)},
    "sigmoid/stability": {"Sigmoid": overflowing()},
    "weighted-sum/subsets": {"WeightedSum": with_backward(WeightedSum, forgetful)},
}


def same(one, other):
    """Whether two values are tensors of the same numbers."""
    return isinstance(one, torch.Tensor) and torch.equal(one, other)


@pytest.mark.slow
@pytest.mark.parametrize("id", WRONG)
def test_the_record_makes_the_inputs_again_to_the_last_bit(id):
    check, moments = judged({**MANY, **WRONG[id]})[id]
    case = case_again(MANY_NEURONS, id, check.case)
    assert [moment.upstream is None for moment in moments] == [True, False][: len(moments)]
    for moment in moments:
        assert all(map(same, moment.inputs, case.inputs))
    if len(moments) > 1:
        upstream = case.upstreams[check.case["upstream"]]
        assert all(map(same, moments[1].upstream, upstream))
    if id != "sigmoid/precision":
        assert moments[-1].is_off


@pytest.mark.slow
def test_a_wrong_gradient_is_shown_at_the_case_where_it_failed():
    names = {**MANY, "Sigmoid": with_backward(Sigmoid, for_small_batches)}
    check, (forward, backward) = judged(names)["sigmoid/gradient/z"]
    assert check.case["seed"] == 3 and len(forward.inputs[0]) == check.case["N"] == 7
    assert not forward.is_off and backward.is_off


def test_a_subset_has_the_inputs_that_needed_no_gradient():
    check, moments = judged({**MANY, **WRONG["weighted-sum/subsets"]})["weighted-sum/subsets"]
    needed = moments[0].forward.requires_grad
    assert sum(need << place for place, need in enumerate(needed)) == check.case["requires_grad"]
    assert "a_prev, a constant" in text(moments)


def test_calls_that_disturb_each_other_are_shown_in_order():
    check, moments = judged({**MANY, "Sigmoid": kept_in_the_class()})["sigmoid/memory"]
    assert [moment.upstream is None for moment in moments] == [True, True, False, False, False]
    assert [moment.is_off for moment in moments] == [False, False, True, False, True]
    second = {**check.case, "seed": check.case["second_seed"], "index": check.case["second_index"]}
    case = case_again(MANY_NEURONS, "sigmoid/gradient/z", second)
    assert all(map(same, moments[1].inputs, case.inputs))
    assert "Sigmoid.backward, call 2" in text(moments)


def test_what_changes_its_inputs_is_shown_with_the_inputs_it_had():
    _, moments = judged({**MANY, "Sigmoid": with_backward(Sigmoid, in_place)})["sigmoid/purity"]
    assert [moment.upstream is None for moment in moments] == [True, False]
    assert moments[1].upstream[0].any()


def test_a_case_in_float32_is_shown_in_float32():
    def backward(ctx, g):
        return g * (slope(ctx) if g.dtype == torch.float64 else 1)

    _, moments = judged({**MANY, "Sigmoid": with_backward(Sigmoid, backward)})["sigmoid/precision"]
    assert [moment.is_off for moment in moments] == [False, True]
    assert moments[1].upstream[0].dtype == torch.float32


def test_of_the_chain_every_call_is_shown():
    asked: list[int] = []

    def backward(ctx, g):
        asked.append(len(g))
        # The chain's first backward, after those of the stage's own gradient.
        return g * slope(ctx) * (2 if len(asked) == alone + 1 else 1)

    names = {**MANY, "Sigmoid": with_backward(Sigmoid, backward)}
    alone = 10**9
    judge(MANY_NEURONS, Silent(names), only=["sigmoid/forward", "sigmoid/gradient/z"])
    alone = len(asked)
    asked.clear()
    transcript = Transcript(MANY_NEURONS, Workbench(names))
    report = judge(MANY_NEURONS, transcript, only=["chain/sigmoid"], begin=transcript.begin).report
    (check,) = report.checks
    assert check.outcome == "failed"
    moments = transcript.moments("chain/sigmoid", check.case or {})
    assert [(moment.stage.name, moment.is_off) for moment in moments] == [
        ("Sigmoid", False),
        ("Sigmoid", True),
    ]


def test_numbers_are_shown_by_hand_in_one_neuron():
    names = {**ONE, "Sigmoid": with_backward(Sigmoid, lambda ctx, g: g)}
    _, moments = judged(names, ONE_NEURON)["sigmoid/gradient/z"]
    shown = text(moments)
    assert "Sigmoid.forward" in shown and "∂C/∂z returned  ()  " in shown and "expected" in shown


def test_what_raised_is_shown_with_its_place():
    _, moments = judged({**MANY, **WRONG["squared-error/gradient/a"]})["squared-error/gradient/a"]
    assert "returned  ValueError: no idea at line" in text(moments)


def test_a_case_that_the_assignment_does_not_have_is_refused():
    for facts in ({"seed": 0}, {"seed": 0, "N": 5, "n_in": 3, "K": 7, "index": 9}):
        with pytest.raises(LookupError):
            case_again(MANY_NEURONS, "sigmoid/layout", facts)
    with pytest.raises(LookupError):
        case_again(MANY_NEURONS, "softmax/forward", {"seed": 0, "index": 0})


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor(1.5),
        torch.arange(3),
        torch.zeros(0, 3),
        torch.zeros(2, 0),
        torch.ones(100, 100),
        torch.ones(2, 3, 4),
        torch.ones(2, dtype=torch.complex128),
        torch.tensor([torch.nan, torch.inf]),
    ],
    ids=lambda value: f"{tuple(value.shape)}",
)
def test_any_tensor_can_be_shown_within_a_page(value):
    lines = named("x", value).split("\n")
    assert str(tuple(value.shape)) in lines[0]
    assert len(lines) < 12 and all(len(line) < 80 for line in lines)


def test_the_largest_difference_has_its_index():
    right = torch.zeros(2, 3, dtype=torch.float64)
    got = right.clone()
    got[1, 2] = torch.nan
    got[0, 0] = 5.0
    assert largest_difference(got, right) == "inf at [1, 2]: nan returned, 0 expected"


def text(moments):
    return "\n".join(line.plain for line in moment_lines(moments))
