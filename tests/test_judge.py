"""The rules of judgement, each on a candidate that differs from a right one in one thing."""

from __future__ import annotations

import gc
import json
import random
import re
import weakref

import pytest
import torch
from torch.autograd.function import once_differentiable

from harness.candidate.operations import Backward, Forward, Output, Returns
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment
from harness.course.settings import Settings
from harness.declare import assignment as declare_assignment
from harness.declare import stage as declare_stage
from harness.judging.judge import judge
from harness.probes.chain import judge_chain
from harness.probes.numerical import gradcheck_case, gradcheck_objection
from harness.probes.plan import Session
from tests.right import (
    MANY,
    ONE,
    OneSquaredError,
    Sigmoid,
    SquaredError,
    WeightedSum,
    with_backward,
    with_forward,
)

MANY_NEURONS = load_assignment("many-neurons")
ONE_NEURON = load_assignment("one-neuron")


def report_of(assignment=MANY_NEURONS, names=MANY, **changed):
    return judge(assignment, Workbench({**names, **changed})).report


def outcomes(report):
    return {check.id: check.outcome for check in report.checks}


def stage_outcomes(stage, **changed):
    """The outcomes of one stage of many-neurons, judged by itself."""
    only = [
        check.id
        for check in report_of().checks
        if check.id.startswith(MANY_NEURONS.stage(stage).slug)
    ]
    report = judge(MANY_NEURONS, Workbench({**MANY, **changed}), only=only).report
    return {check.id.split("/", 1)[1]: check.outcome for check in report.checks}, report


def check_of(report, id):
    return next(check for check in report.checks if check.id == id)


@pytest.mark.parametrize(("assignment", "names"), [(MANY_NEURONS, MANY), (ONE_NEURON, ONE)])
def test_a_right_candidate_gets_full_marks(assignment, names):
    report = report_of(assignment, names)
    assert report.passed
    assert report.score == report.max_score == 10.0


@pytest.mark.parametrize(("assignment", "names"), [(MANY_NEURONS, MANY), (ONE_NEURON, ONE)])
def test_stubs_earn_nothing(assignment, names):
    def stub(ctx, g):
        raise NotImplementedError

    stubs = {name: with_backward(stage, stub) for name, stage in names.items()}
    report = report_of(assignment, stubs)
    assert report.score == 0
    assert "is not written yet" in check_of(report, "sigmoid/gradient/z").message


def test_what_torch_does_not_support_is_told_in_its_words():
    def sparse(ctx, g):
        return g.to_sparse().cholesky()

    report = report_of(Sigmoid=with_backward(Sigmoid, sparse))
    message = check_of(report, "sigmoid/gradient/z").message
    assert "raised NotImplementedError" in message and "Could not run" in message


def test_a_report_is_plain_data():
    report = report_of(Sigmoid=with_backward(Sigmoid, lambda ctx, g: g))
    assert json.loads(json.dumps(report.as_dict()))["score"] == report.score


def test_a_wrong_stage_leaves_the_others_their_points():
    report = report_of(Sigmoid=with_backward(Sigmoid, lambda ctx, g: g))
    wrong = {check.stage for check in report.checks if check.outcome in ("failed", "error")}
    assert wrong == {"Sigmoid"}
    done = outcomes(report)
    assert done["chain/weighted-sum"] == done["chain/squared-error"] == "passed"
    assert done["chain/sigmoid"] == done["chain/whole"] == done["training"] == "not_run"
    assert check_of(report, "chain/sigmoid").waits_for == "sigmoid/gradient/z"


def test_a_wrong_gradient_costs_its_own_edge_and_what_waits_for_it():
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g @ w, 2 * g.T @ a_prev, g.sum(0)

    done, _ = stage_outcomes("WeightedSum", WeightedSum=with_backward(WeightedSum, backward))
    assert done["gradient/w"] == "failed"
    assert done["gradient/a_prev"] == done["gradient/b"] == done["forward"] == "passed"
    assert done["purity"] == "not_run"


def test_a_wrong_forward_is_its_own_failure():
    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return a + 0.125

    done, _ = stage_outcomes("Sigmoid", Sigmoid=with_forward(Sigmoid, forward))
    assert done["forward"] == "failed"
    assert done["gradient/z"] == "passed"


def test_a_backward_that_fits_a_wrong_forward_is_wrong_too():
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return ((a - y) ** 2).sum() / (2 * len(a))

    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * (a - y) / len(a), None

    half = with_forward(with_backward(SquaredError, backward), forward)
    done, _ = stage_outcomes("SquaredError", SquaredError=half)
    assert done["forward"] == done["gradient/a"] == "failed"
    assert done["gradient/y"] == "not_run"


@pytest.mark.parametrize("wrong", [lambda a, y: a - y, lambda a, y: y - a + 0.1])
def test_a_wrong_gradient_for_the_target_fails_only_that_check(wrong):
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * 2 * (a - y) / len(a), g * wrong(a, y)

    done, _ = stage_outcomes("SquaredError", SquaredError=with_backward(SquaredError, backward))
    assert done["gradient/a"] == "passed"
    assert done["gradient/y"] == "failed"


def test_a_right_gradient_for_the_target_is_right():
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        ga = g * 2 * (a - y) / len(a)
        return ga, -ga

    assert report_of(SquaredError=with_backward(SquaredError, backward)).score == 10


class TestShape:
    """What backward returned, before torch's engine touches it."""

    def of_bias(self, make):
        def backward(ctx, g):
            a_prev, w = ctx.saved_tensors
            return g @ w, g.T @ a_prev, make(g)

        return stage_outcomes("WeightedSum", WeightedSum=with_backward(WeightedSum, backward))

    def test_a_gradient_that_the_engine_has_to_sum_is_wrong(self):
        done, report = self.of_bias(lambda g: g)
        assert done["gradient/b"] == "failed"
        assert "sum" in check_of(report, "weighted-sum/gradient/b").message

    def test_extra_leading_axes_of_size_one_are_right_with_advice(self):
        done, report = self.of_bias(lambda g: g.sum(0, keepdim=True))
        assert set(done.values()) == {"passed"}
        assert "size 1" in report.advice[0].text

    def test_a_shape_that_the_engine_refuses_is_wrong_in_its_words(self):
        done, report = self.of_bias(lambda g: g.sum(0)[:, None])
        assert done["gradient/b"] == "failed"
        assert "torch says" in check_of(report, "weighted-sum/gradient/b").message

    def test_an_expanded_return_is_right(self):
        done, _ = self.of_bias(lambda g: g.sum(0) + torch.zeros(()).expand(g.shape[1]))
        assert set(done.values()) == {"passed"}

    @pytest.mark.parametrize("make", [lambda g: g.sum(0).tolist(), lambda g: g.sum(0).numpy()])
    def test_a_list_or_an_array_is_wrong_with_the_reason(self, make):
        done, report = self.of_bias(make)
        assert done["gradient/b"] == "failed"
        assert "where a tensor belongs" in check_of(report, "weighted-sum/gradient/b").message

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (
                lambda g: g.sum(0).to("meta"),
                "returned a meta tensor for b where a tensor belongs. Return it on the device",
            ),
            (
                lambda g: g.sum(0).to_sparse(),
                "returned a sparse tensor for b where a tensor belongs. .to_dense()",
            ),
            (lambda g: g.sum(0) * 1j, "returned complex numbers for b, which is real"),
            (lambda g: torch.nested.nested_tensor([*g]), "returned a nested tensor for b"),
            (
                lambda g: torch.quantize_per_tensor(g.sum(0).float(), 0.1, 0, torch.qint8),
                "returned a quantized tensor for b",
            ),
            (
                lambda g: torch.zeros(1, 1).expand(10**6, 10**6),
                "returned a tensor of 1000000000000 numbers for b",
            ),
        ],
    )
    @pytest.mark.filterwarnings("ignore")  # of torch's, about kinds that are new or deprecated
    def test_an_unusual_tensor_is_wrong_with_the_reason(self, make, said):
        done, report = self.of_bias(make)
        assert (done["gradient/w"], done["gradient/b"]) == ("passed", "failed")
        assert said in check_of(report, "weighted-sum/gradient/b").message

    def test_none_for_a_required_input_is_wrong(self):
        done, _ = self.of_bias(lambda g: None)
        assert done["gradient/b"] == "failed"


def test_too_few_returns_are_refused_in_the_engines_words():
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g @ w, g.T @ a_prev

    done, report = stage_outcomes("WeightedSum", WeightedSum=with_backward(WeightedSum, backward))
    assert done["gradient/a_prev"] == done["gradient/b"] == "failed"
    assert "expected 3, got 2" in check_of(report, "weighted-sum/gradient/w").message


def test_extra_none_returns_are_right_with_advice():
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g * a * (1 - a), None

    report = report_of(Sigmoid=with_backward(Sigmoid, backward))
    assert report.passed and report.advice


def test_float32_arithmetic_costs_precision_and_what_needs_it():
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        a = a.float()
        return (g.float() * a * (1 - a)).double()

    done, _ = stage_outcomes("Sigmoid", Sigmoid=with_backward(Sigmoid, backward))
    missed = {id: outcome for id, outcome in done.items() if outcome != "passed"}
    assert missed == {"precision": "failed", "stability": "not_run"}


UNIT: torch.Tensor = torch.ones(1, dtype=torch.float64)


class TestSinglePrecision:
    """Inputs in float32 too: their values count, their manners are worth a word."""

    @pytest.mark.parametrize(
        ("right", "wrong"),
        [
            (lambda g, a: g * a * (1 - a), lambda g, a: g * a),
            (lambda g, a: g * a * (1 - a), lambda g, a: torch.zeros_like(g)),
            (lambda g, a: g * a * (1 - a), lambda g, a: (g * a * (1 - a)).half().float()),
        ],
        ids=["another formula", "nothing", "half precision"],
    )
    def test_a_backward_that_is_right_in_float64_only_costs_precision(self, right, wrong):
        def backward(ctx, g):
            (a,) = ctx.saved_tensors
            return (right if g.dtype == torch.float64 else wrong)(g, a)

        done, report = stage_outcomes("Sigmoid", Sigmoid=with_backward(Sigmoid, backward))
        missed = {id: outcome for id, outcome in done.items() if outcome != "passed"}
        assert missed == {"precision": "failed", "stability": "not_run"}
        assert (
            "∂C/∂z is wrong for inputs in float32" in check_of(report, "sigmoid/precision").message
        )

    def test_a_forward_that_is_right_in_float64_only_costs_precision(self):
        def forward(ctx, a_prev, w, b):
            ctx.save_for_backward(a_prev, w)
            return a_prev @ w.T + (b if b.dtype == torch.float64 else 0)

        done, report = stage_outcomes("WeightedSum", WeightedSum=with_forward(WeightedSum, forward))
        assert [id for id, outcome in done.items() if outcome != "passed"] == ["precision"]
        message = check_of(report, "weighted-sum/precision").message
        assert "forward is wrong for inputs in float32" in message

    @pytest.mark.parametrize(
        "make",
        [
            lambda g, a: g.double() * a * (1 - a),
            lambda g, a: g * a * (torch.ones(a.shape, dtype=torch.float64) - a),
            lambda g, a: (g.T.double() @ torch.eye(len(g), dtype=torch.float64)).T * a * (1 - a),
            lambda g, a: (torch.eye(len(g), dtype=torch.float64) @ g) * a * (1 - a),
        ],
        ids=["double", "a constant", "a product", "one that raises"],
    )
    def test_float64_made_on_the_way_is_right_with_advice(self, make):
        def backward(ctx, g):
            (a,) = ctx.saved_tensors
            return make(g, a)

        done, report = stage_outcomes("Sigmoid", Sigmoid=with_backward(Sigmoid, backward))
        assert set(done.values()) == {"passed"}
        (advice,) = report.advice
        assert "float32" in advice.text and "dtype=z.dtype" in advice.text

    @pytest.mark.parametrize(
        "make", [lambda z: torch.sigmoid(z.double()), lambda z: 1 / (torch.exp(-z) + UNIT)]
    )
    def test_a_forward_that_gives_float64_is_right_with_advice(self, make):
        def forward(ctx, z):
            a = make(z)
            ctx.save_for_backward(a)
            return a

        done, report = stage_outcomes("Sigmoid", Sigmoid=with_forward(Sigmoid, forward))
        assert set(done.values()) == {"passed"}
        assert str(report.advice[0]).startswith("Sigmoid: forward gives float64")

    @pytest.mark.slow
    @pytest.mark.parametrize(("assignment", "names"), [(MANY_NEURONS, MANY), (ONE_NEURON, ONE)])
    @pytest.mark.parametrize("seed", range(8))
    def test_right_work_is_right_for_every_seed(self, assignment, names, seed):
        only = [f"{stage.slug}/precision" for stage in assignment.stages]
        report = judge(assignment, Workbench(names), seed=seed, only=only).report
        assert report.passed and not report.advice


def test_an_overflowing_formula_costs_stability_only():
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return torch.sigmoid(z)

    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * torch.exp(z) / (1 + torch.exp(z)) ** 2

    overflowing = with_forward(with_backward(Sigmoid, backward), forward)
    done, _ = stage_outcomes("Sigmoid", Sigmoid=overflowing)
    assert [id for id, outcome in done.items() if outcome != "passed"] == ["stability"]


def test_a_more_exact_formula_than_torchs_own_is_right():
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return torch.sigmoid(z)

    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * torch.sigmoid(z) * torch.sigmoid(-z)

    assert report_of(Sigmoid=with_forward(with_backward(Sigmoid, backward), forward)).score == 10


def test_changing_the_upstream_in_place_costs_purity():
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        result = g * a * (1 - a)
        g.zero_()
        return result

    done, report = stage_outcomes("Sigmoid", Sigmoid=with_backward(Sigmoid, backward))
    assert done["gradient/z"] == "passed"
    assert done["purity"] == "failed"
    assert "upstream gradient" in check_of(report, "sigmoid/purity").message


def test_an_activation_kept_in_the_class_costs_memory():
    kept = {}

    def forward(ctx, z):
        kept["a"] = torch.sigmoid(z)
        return kept["a"].clone()

    def backward(ctx, g):
        return g * kept["a"] * (1 - kept["a"])

    cached = with_forward(with_backward(Sigmoid, backward), forward)
    done, _ = stage_outcomes("Sigmoid", Sigmoid=cached)
    assert done["gradient/z"] == "passed"
    assert done["memory"] == "failed"


def test_a_backward_that_spoils_what_was_saved_costs_memory_and_not_the_gradient():
    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.slope = a * (1 - a)
        return a

    spoiling = with_forward(with_backward(Sigmoid, lambda ctx, g: ctx.slope.mul_(g)), forward)
    done, _ = stage_outcomes("Sigmoid", Sigmoid=spoiling)
    assert [id for id, outcome in done.items() if outcome != "passed"] == ["memory"]


def test_weights_changed_by_backward_do_not_cost_its_gradients():
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        gradients = g @ w, g.T @ a_prev, g.sum(0)
        w.data.sub_(0.1 * gradients[1])
        return gradients

    done, report = stage_outcomes("WeightedSum", WeightedSum=with_backward(WeightedSum, backward))
    assert {done[f"gradient/{name}"] for name in ("a_prev", "w", "b")} == {"passed"}
    assert "changes w in place" in check_of(report, "weighted-sum/purity").message


@pytest.mark.parametrize("filled", ["forward", "backward"])
def test_what_is_returned_and_filled_anew_costs_memory(filled):
    kept: dict[object, torch.Tensor] = {}

    def buffered(value):
        place = kept.setdefault((value.shape, value.dtype), torch.empty_like(value))
        return place.copy_(value)

    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return buffered(a).detach()

    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return buffered(g * a * (1 - a))

    changed = (
        with_forward(Sigmoid, forward) if filled == "forward" else with_backward(Sigmoid, backward)
    )
    done, report = stage_outcomes("Sigmoid", Sigmoid=changed)
    assert [id for id, outcome in done.items() if outcome != "passed"] == ["memory"]
    assert "has returned changes" in check_of(report, "sigmoid/memory").message


def _by_shape(ctx, g):
    a_prev, w = ctx.saved_tensors
    return (g @ w.T if w.shape[0] == w.shape[1] else g @ w), g.T @ a_prev, g.sum(0)


def _by_fit(ctx, g):
    a_prev, w = ctx.saved_tensors
    b = g.sum(1)
    return g @ w, g.T @ a_prev, b if len(b) == len(w) else g.sum(0)


def _of_ten_samples(ctx, g):
    a_prev, w = ctx.saved_tensors
    return g @ w, g[:10].T @ a_prev[:10], g.sum(0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backward", "wrong"), [(_by_shape, "a_prev"), (_by_fit, "b"), (_of_ten_samples, "w")]
)
def test_what_holds_at_some_sizes_only_costs_the_gradient(backward, wrong):
    done, _ = stage_outcomes("WeightedSum", WeightedSum=with_backward(WeightedSum, backward))
    assert [id for id, outcome in done.items() if outcome == "failed"] == [f"gradient/{wrong}"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_what_holds_for_small_numbers_only_is_wrong_of_single_neurons(seed):
    def of_sum(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g * w, g * a_prev.clamp(-3.5, 3.5), g

    def of_sigmoid(ctx, g):
        (a,) = ctx.saved_tensors
        return g * torch.where((a - 0.5).abs() < 0.05, a.new_tensor(0.25), a * (1 - a))

    one_sum, one_sigmoid = ONE["WeightedSum"], ONE["Sigmoid"]
    spoilt = {
        "WeightedSum": with_backward(one_sum, of_sum),
        "Sigmoid": with_backward(one_sigmoid, of_sigmoid),
    }
    checks = ["weighted-sum/gradient/w", "sigmoid/gradient/z"]
    report = judge(ONE_NEURON, Workbench({**ONE, **spoilt}), seed=seed, only=checks).report
    assert [check.outcome for check in report.checks] == ["failed", "failed"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("factors", ["a_prev w b", "a_prev w", "a_prev b", "w b", "z b", "z w"])
def test_a_sign_of_any_product_is_wrong_of_a_single_neuron(factors, seed):
    class WithOutput(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a_prev, w, b):
            z = w * a_prev + b
            ctx.save_for_backward(a_prev, w, b, z)
            return z

        @staticmethod
        def backward(ctx, g):
            values = dict(zip(("a_prev", "w", "b", "z"), ctx.saved_tensors, strict=True))
            product = torch.stack([values[name] for name in factors.split()]).prod()
            return g * values["w"] * product.sign(), g * values["a_prev"], g

    classes = {**ONE, "WeightedSum": WithOutput}
    report = judge(
        ONE_NEURON, Workbench(classes), seed=seed, only=["weighted-sum/gradient/a_prev"]
    ).report
    assert [check.outcome for check in report.checks] == ["failed"]


def test_inference_mode_that_was_entered_for_good_costs_nothing():
    z, g = torch.randn(2, 3), torch.randn(2, 3)
    with torch.inference_mode():
        output, returned = Workbench(MANY).perform(
            [Forward(1, "Sigmoid", (z,), (True,)), Backward(1, (g,))]
        )
    assert isinstance(output, Output)
    assert isinstance(returned, Returns)
    (slope,), a = returned.values, output.value
    assert isinstance(slope, torch.Tensor) and isinstance(a, torch.Tensor)
    assert torch.allclose(slope, g * a * (1 - a))


def test_a_backward_for_contiguous_tensors_only_costs_layout():
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return (g.view(-1) * (a * (1 - a)).reshape(-1)).view(a.shape)

    done, _ = stage_outcomes("Sigmoid", Sigmoid=with_backward(Sigmoid, backward))
    assert [id for id, outcome in done.items() if outcome != "passed"] == ["layout"]


def test_forgetting_an_input_when_another_needs_no_gradient_costs_subsets():
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        gw = g.T @ a_prev if ctx.needs_input_grad[0] else None
        return g @ w, gw, g.sum(0)

    done, _ = stage_outcomes("WeightedSum", WeightedSum=with_backward(WeightedSum, backward))
    assert [id for id, outcome in done.items() if outcome != "passed"] == ["subsets"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda g: g * g,
        lambda g: g.abs(),
        lambda g: g.clamp(-1, 1),
        lambda g: g.sign(),
        lambda g: g.relu(),
        lambda g: (g != 0).double(),
    ],
    ids=["square", "abs", "clip", "sign", "relu", "nonzero"],
)
@pytest.mark.parametrize(("assignment", "names"), [(MANY_NEURONS, MANY), (ONE_NEURON, ONE)])
def test_what_gradcheck_lets_through_is_wrong(assignment, names, spoil):
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return spoil(g) * a * (1 - a)

    report = report_of(assignment, names, Sigmoid=with_backward(Sigmoid, backward))
    assert outcomes(report)["sigmoid/gradient/z"] == "failed"


def test_styles_that_are_right_get_full_marks():
    class Needs(WeightedSum):
        @staticmethod
        def backward(ctx, g):
            a_prev, w = ctx.saved_tensors
            a, b, c = ctx.needs_input_grad
            return g @ w if a else None, g.T @ a_prev if b else None, g.sum(0) if c else None

    class Setup(torch.autograd.Function):
        @staticmethod
        def forward(z):
            return torch.sigmoid(z)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(output)

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            (a,) = ctx.saved_tensors
            return torch.from_numpy(g.numpy() * a.numpy() * (1 - a.numpy()))

    assert report_of(WeightedSum=Needs, Sigmoid=Setup).passed


def test_a_missing_class_and_one_that_is_no_function_are_told_apart():
    class NotAFunction:
        apply = torch.sigmoid

    report = judge(MANY_NEURONS, Workbench({"Sigmoid": NotAFunction})).report
    assert "There is no class WeightedSum" in check_of(report, "weighted-sum/forward").message
    assert "not a torch.autograd.Function" in check_of(report, "sigmoid/forward").message
    assert outcomes(report)["sigmoid/gradient/z"] == "not_run"
    assert report.score == 0


@pytest.mark.parametrize("error", [RuntimeError("boom"), SystemExit(3), RecursionError()])
def test_what_a_backward_raises_is_an_error_of_its_stage(error):
    def backward(ctx, g):
        raise error

    report = report_of(Sigmoid=with_backward(Sigmoid, backward))
    check = check_of(report, "sigmoid/gradient/z")
    assert check.outcome == "error"
    assert type(error).__name__ in check.message
    assert "line" in check.message and "raise error" in check.message


def test_an_exception_is_quoted_whichever_of_the_public_inputs_raises_it():
    calls: list[object] = []

    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        calls.append(g)
        if len(calls) > 4:
            text = "se" + f"cret {a.flatten()[0].item()}"
            raise ValueError(text)
        return g * a * (1 - a)

    report = report_of(Sigmoid=with_backward(Sigmoid, backward))
    check = check_of(report, "sigmoid/gradient/z")
    assert "raised ValueError" in check.message and ": secret" in check.message


def test_the_same_seed_gives_the_same_report_and_another_the_same_verdict():
    wrong = with_backward(Sigmoid, lambda ctx, g: g)
    names = {**MANY, "Sigmoid": wrong}
    first, again, other = (
        judge(MANY_NEURONS, Workbench(names), seed=seed).report for seed in (3, 3, 4)
    )
    assert first == again
    assert outcomes(first) == outcomes(other)


def test_levels_of_feedback_show_less_and_less():
    def message(level):
        wrong = {**MANY, "Sigmoid": with_backward(Sigmoid, lambda ctx, g: g)}
        report = judge(MANY_NEURONS, Workbench(wrong), settings=Settings(feedback=level)).report
        return check_of(report, "sigmoid/gradient/z").message

    assert message("verdict") == ""
    assert message("where") == "Sigmoid.backward: ∂C/∂z is wrong."
    assert message("hint").startswith(message("where"))
    assert len(message("hint")) > len(message("where"))


def test_only_names_the_checks_that_are_reported():
    report = judge(MANY_NEURONS, Workbench(MANY), only=["chain/sigmoid"]).report
    assert [check.id for check in report.checks] == ["chain/sigmoid"]
    assert report.passed


def test_a_function_that_changes_its_mind_is_caught_in_training():
    calls: list[object] = []

    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        calls.append(None)
        return g * a * (1 - a) * (1.5 if len(calls) > 400 else 1)

    report = report_of(Sigmoid=with_backward(Sigmoid, backward))
    check = check_of(report, "training")
    assert check.outcome == "failed"
    assert "step" in check.message


def test_targets_need_no_gradient_in_one_neuron_either():
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return 2 * (a - y) * g, -2 * (a - y) * g

    both = with_backward(OneSquaredError, backward)
    assert report_of(ONE_NEURON, ONE, SquaredError=both).passed


def test_a_gradient_that_is_zero_has_no_digits_to_lose():
    """Of one number in a group only rounding is left, 300 times as large as of the upstream."""

    class GroupNorm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            rows = x.reshape(len(x), 2, -1)
            var = rows.var(-1, correction=0, keepdim=True)
            sd = torch.sqrt(var + 1e-5)
            xh = (rows - rows.mean(-1, keepdim=True)) / sd
            ctx.save_for_backward(xh, sd, w)
            return xh.reshape(x.shape) * w[:, None]

        @staticmethod
        def backward(ctx, g):
            xh, sd, w = ctx.saved_tensors
            gh = (g * w[:, None]).reshape(xh.shape)
            size = gh.shape[-1]
            rest = gh.sum(-1, keepdim=True) + xh * (gh * xh).sum(-1, keepdim=True)
            gx = (gh - rest * (1 / size) * (1 + 1e-15)) / sd
            return gx.reshape(g.shape), (g * xh.reshape(g.shape)).sum((0, 2))

    norm = declare_stage(
        "GroupNorm",
        "x[N (2 * Q) H], w[(2 * Q)] -> y",
        lambda x, w: torch.nn.functional.group_norm(x, 2, w, None, 1e-5),
    )
    own = declare_assignment("Own", [norm])
    report = judge(own, Workbench({"GroupNorm": GroupNorm}), seed=1).report
    assert report.passed, [check.id for check in report.checks if check.outcome != "passed"]


def test_a_forward_that_loses_digits_costs_precision():
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return (a_prev @ w.T + b).float().double()

    done, report = stage_outcomes("WeightedSum", WeightedSum=with_forward(WeightedSum, forward))
    assert [id for id, outcome in done.items() if outcome != "passed"] == ["precision"]
    assert "forward is right, but" in check_of(report, "weighted-sum/precision").message


def test_a_wrong_forward_does_not_cost_precision_too():
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return a_prev @ w.T - b

    done, _ = stage_outcomes("WeightedSum", WeightedSum=with_forward(WeightedSum, forward))
    assert [id for id, outcome in done.items() if outcome != "passed"] == ["forward"]


def test_a_size_kept_in_the_class_costs_memory():
    kept = {}

    def forward(ctx, a, y):
        kept["N"] = len(a)
        ctx.save_for_backward(a, y)
        return ((a - y) ** 2).sum() / len(a)

    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * 2 * (a - y) / kept["N"], None

    cached = with_forward(with_backward(SquaredError, backward), forward)
    done, report = stage_outcomes("SquaredError", SquaredError=cached)
    assert [id for id, outcome in done.items() if outcome != "passed"] == ["memory"]
    assert "with other sizes" in check_of(report, "squared-error/memory").message


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_the_size_of_a_factor_does_not_pass_for_the_factor(seed):
    """Of few single numbers, all might be positive by chance."""

    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g * w.abs(), g * a_prev, g

    wrong = {**ONE, "WeightedSum": with_backward(ONE["WeightedSum"], backward)}
    id = "weighted-sum/gradient/a_prev"
    report = judge(ONE_NEURON, Workbench(wrong), only=[id], seed=seed).report
    assert outcomes(report)[id] == "failed"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_gradcheck_says_the_same_of_the_same_answers_in_any_precision(dtype):
    stage = MANY_NEURONS.stages[1]
    case = gradcheck_case(stage, 0, stage.sizes)
    right = [(z.to(dtype),) for (z,) in case.gradients if z is not None]
    wrong = [(2 * each[0],) for each in right]
    first, again = (
        [gradcheck_objection(stage, ["z"], case, each) for each in (right, wrong)] for _ in range(2)
    )
    assert again == first
    assert first[1]
    assert first[0] is None or dtype == torch.bfloat16  # gradcheck lets half precision pass


def test_a_judgement_leaves_nothing_of_what_was_judged_behind():
    workbench = Workbench(MANY)
    judge(MANY_NEURONS, workbench, seed=3, only=["chain/whole"])
    gone = weakref.ref(workbench)
    del workbench
    gc.collect()
    assert gone() is None


def in_float32(function, stays):
    """A copy of the stage whose output has float32's digits, and its dtype if it ``stays`` so."""

    def forward(ctx, *given):
        output = function.forward(ctx, *given).float()
        return output if stays else output.double()

    return with_forward(function, forward)


@pytest.mark.slow
@pytest.mark.parametrize("stays", [True, False])
@pytest.mark.parametrize("stage", ONE)
def test_the_rounding_of_one_stage_does_not_grow_along_the_chain(stage, stays):
    names = {**ONE, stage: in_float32(ONE[stage], stays)}
    for index in (14, 503, *range(200)):
        session = Session(ONE_NEURON, Workbench(names), random.Random(index).getrandbits(53))
        judge_chain(ONE_NEURON.network, session.contexts, [stage])


def test_what_breaks_down_far_from_zero_is_told_with_the_value():
    def forward(ctx, z):
        a = z.exp() / (1 + z.exp())
        ctx.save_for_backward(a)
        return a

    report = report_of(Sigmoid=with_forward(Sigmoid, forward))
    told = re.findall(r"With z(\[.+?\]) = 7\d\d\.?\d*, a(\[.+?\]) is nan", str(report))
    assert told and all(one == other for one, other in told)


def test_a_training_that_fails_because_of_another_check_waits_for_it():
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        # The first layer's input needs no gradient.
        assert ctx.needs_input_grad[0]
        return g @ w, g.T @ a_prev, g.sum(0)

    report = report_of(WeightedSum=with_backward(WeightedSum, backward))
    training = check_of(report, "training")
    assert training.outcome == "not_run" and training.waits_for == "weighted-sum/subsets"
    said = check_of(report, "weighted-sum/subsets").message
    assert said.startswith("When only") and "raised AssertionError" in said
