"""Optimizers: what they are like, how they are judged, and what is said about wrong ones."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from grading.nbgrader.handout import module_text
from grading.verify.case import Solution, unsolved
from grading.verify.optimizers import class_text, optimizer_controls
from harness.candidate.values import same
from harness.candidate.workbench import Workbench
from harness.course.assignment import Assignment
from harness.course.assignments import load_assignment
from harness.course.report import Check, Report
from harness.course.settings import Settings
from harness.declare import DeclarationError, assignment, optimizer, stage
from harness.drawing.valley import valley_pictures
from harness.errors import UserError
from harness.judging.judge import judge
from harness.judging.validation import validate
from harness.notebook import Handout
from harness.probes import plan
from harness.probes.recorded import record_steps
from harness.updates import Optimizer, Rule
from harness.updates.drawing import drawn
from harness.updates.edits import catalogue_of, combined, conventions_of, mistakes_of
from harness.updates.recorded import RecordedSteps
from harness.updates.rule import read_rule, rule_of
from tests.own_course import declare

EXAMPLE = Path(__file__).parent.parent / "examples" / "solutions" / "optimizers-by-hand"
SEED = 12345

LIKE: dict[str, Optimizer] = {
    "SGD": optimizer("SGD", torch.optim.SGD, [{"lr": 0.1}]),
    "Decayed": optimizer("Decayed", torch.optim.SGD, [{"lr": 0.1, "weight_decay": 0.2}]),
    "Momentum": optimizer("Momentum", torch.optim.SGD, [{"lr": 0.1, "momentum": 0.9}]),
    "Nesterov": optimizer(
        "Nesterov", torch.optim.SGD, [{"lr": 0.1, "momentum": 0.9, "nesterov": True}]
    ),
    "RMSProp": optimizer("RMSProp", torch.optim.RMSprop, [{"lr": 0.01}]),
    "Adagrad": optimizer("Adagrad", torch.optim.Adagrad, [{"lr": 0.1}]),
    "Adadelta": optimizer("Adadelta", torch.optim.Adadelta, [{"lr": 1.0}]),
    "Adamax": optimizer("Adamax", torch.optim.Adamax, [{"lr": 0.01}]),
    "Adam": optimizer("Adam", torch.optim.Adam, [{"lr": 0.01, "betas": (0.9, 0.99)}]),
    "AdamW": optimizer("AdamW", torch.optim.AdamW, [{"lr": 0.01, "weight_decay": 0.1}]),
    "AMSGrad": optimizer("AMSGrad", torch.optim.Adam, [{"lr": 0.01, "amsgrad": True}]),
    "NAdam": optimizer("NAdam", torch.optim.NAdam, [{"lr": 0.01}]),
}


def declared(each: Optimizer) -> Assignment:
    """An assignment of one optimizer."""
    return replace(assignment("Optimizers", [each]), name="optimizers")


def judged(each: Optimizer, code: str, *, seed: int = SEED) -> Report:
    """The report on a class that code defines."""
    scope: dict[str, Any] = {}
    exec(code, scope)
    return judge(declared(each), Workbench(scope), seed=seed).report


def failed(report: Report) -> list[str]:
    """The kinds of the checks that did not pass, apart from those that wait."""
    return [
        each.id.partition("/")[2] for each in report.checks if each.outcome in ("failed", "error")
    ]


def the_update(report: Report) -> Check:
    """The check of the update."""
    return next(each for each in report.checks if each.id.endswith("/update"))


MOMENTUM = """
import torch

class Momentum(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1, momentum=0.9):
        super().__init__(params, dict(lr=lr, momentum=momentum))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                state["v"] = group["momentum"] * state.get("v", 0) + p.grad
                p -= group["lr"] * state["v"]
"""

# What breaks one check, and which.
BREAKS = {
    "settings of the optimizer": ('group["lr"]', 'self.defaults["lr"]', "settings"),
    "settings of the beginning": ('group["lr"]', "self.lr", "settings"),
    "one state": ("self.state[p]", 'self.state["all"]', "state"),
    "state of the class": (
        "self.state[p]",
        "Momentum.__dict__['kept'].setdefault(p.numel(), {})",
        "update",
    ),
    "no gradient": ("if p.grad is None:", "if False:", "missing"),
    "zeros for no gradient": (
        "if p.grad is None:\n                    continue",
        "p.grad = torch.zeros_like(p) if p.grad is None else p.grad",
        "missing",
    ),
    "float32 inside": ("+ p.grad", "+ p.grad.float()", "precision"),
    "a gradient scaled in place": (
        "p -= group",
        "p.grad *= 2\n                p -= group",
        "purity",
    ),
    "a gradient taken away": (
        '* state["v"]',
        '* state["v"]\n                p.grad = None',
        "purity",
    ),
    "a history": (
        '* state["v"]',
        '* state["v"]\n                state.setdefault("h", []).append(p.clone())',
        "memory",
    ),
}


class TestRules:
    @pytest.mark.parametrize("name", LIKE)
    def test_a_rule_leads_where_torchs_own_optimizer_does(self, name: str) -> None:
        each = LIKE[name]
        assert (each.rule is None) == (name == "NAdam")
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            shapes = ((3,), (2, 2))
            trajectory = drawn(each, generator, shapes, groups=2, absent=True, large=bool(seed % 2))
            for ones, others in zip(each.run(trajectory), each.path(trajectory), strict=True):
                for one, other in zip(ones, others, strict=True):
                    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-13)

    def test_a_plain_function_is_read_as_a_rule(self) -> None:
        def reference(p: Any, g: Any, state: Any, *, lr: float, mu: float) -> Any:
            """Momentum."""
            if "v" not in state:
                state["v"] = torch.zeros_like(p)
            state["v"] = mu * state["v"] + g.square()
            return p - lr * torch.sqrt(state["v"])

        assert str(rule_of(reference)) == "v = mu * v + g ** 2; p = p - lr * sqrt(v)"

    def test_a_function_with_branches_is_judged_without_names_of_mistakes(self) -> None:
        def reference(p: Any, g: Any, state: Any, *, lr: float) -> Any:
            for _ in range(2):
                p = p - lr * g / 2
            return p

        each = optimizer("Odd", reference, [{"lr": 0.1}])
        assert each.rule is None
        validate(declared(each))

    @given(st.sampled_from(sorted(LIKE)), st.integers(0, 10**6), st.data())
    @settings(max_examples=40, deadline=None)
    def test_the_text_of_an_edited_rule_reads_as_the_same_rule(
        self, name: str, seed: int, data: st.DataObject
    ) -> None:
        wrong = list(itertools.islice(combined(LIKE[name]), 300))
        if not wrong:
            return
        rule = data.draw(st.sampled_from(wrong)).rule
        if rule.habits:
            return
        trajectory = drawn(LIKE[name], torch.Generator().manual_seed(seed))
        again = read_rule(str(rule)).path(trajectory)
        for (one,), (other,) in zip(rule.path(trajectory), again, strict=True):
            assert torch.equal(one.nan_to_num(), other.nan_to_num())


class TestDeclarations:
    @pytest.mark.parametrize(
        ("like", "tries", "says"),
        [
            (
                torch.optim.Adam,
                [{"lr": 0.1}, {"lr": 0.1, "amsgrad": True}],
                "amsgrad is in some tries",
            ),
            (lambda p, state, *, lr: p, [{"lr": 0.1}], "like takes p, g, state"),
            (lambda p, g, state, *, lr, mu: p, [{"lr": 0.1}], "mu: no try gives a value"),
            (lambda p, g, state, *, lr: p, [{"lr": 0.1, "mu": 0.9}], "mu: like does not take it"),
        ],
    )
    def test_what_cannot_be_used_is_one_sentence_with_its_place(
        self, like: Any, tries: Any, says: str
    ) -> None:
        with pytest.raises(DeclarationError, match=rf"test_optimizers\.py, line \d+: Odd: {says}"):
            optimizer("Odd", like, tries)

    def test_a_reference_that_diverges_is_told(self) -> None:
        def reference(p: Any, g: Any, state: Any, *, lr: float) -> Any:
            return p / (g * 0)

        each = optimizer("Odd", reference, [{"lr": 0.1}])
        with pytest.raises(Exception, match="values that are not finite"):
            validate(declared(each))

    def test_points_add_up_to_ten_and_most_are_the_updates(self) -> None:
        made = load_assignment(EXAMPLE.name, EXAMPLE / "assignment.py")
        points = {check.id: check.max_points for check in plan(made, Settings())}
        assert sum(points.values()) == pytest.approx(10)
        assert sum(x for id, x in points.items() if id.endswith("/update")) > 5
        assert min(points.values()) > 0
        assert points["adam/training"] == 0.25


class TestJudgement:
    def test_the_examples_solution_gets_full_marks_and_its_handout_none(self) -> None:
        made = load_assignment(EXAMPLE.name, EXAMPLE / "assignment.py")
        data = (EXAMPLE / f"{EXAMPLE.name}.py").read_bytes()
        for text, score in ((data, 10), (unsolved(Solution("x.py", data), made).data, 0)):
            scope: dict[str, Any] = {}
            exec(text, scope)
            assert judge(made, Workbench(scope), seed=SEED).report.score == pytest.approx(score)

    @pytest.mark.parametrize("how", BREAKS)
    def test_each_fault_costs_its_own_check_only(self, how: str) -> None:
        old, new, check = BREAKS[how]
        assert old in MOMENTUM
        code = MOMENTUM.replace(old, new)
        if "self.lr" in new:
            code = code.replace("super()", "self.lr = lr\n        super()")
        code = code.replace("    def __init__", "    kept = {}\n\n    def __init__", 1)
        assert failed(judged(LIKE["Momentum"], MOMENTUM)) == []
        assert failed(judged(LIKE["Momentum"], code)) == [check]

    @pytest.mark.slow
    @pytest.mark.parametrize("name", [each for each in LIKE if LIKE[each].rule])
    def test_right_classes_in_odd_styles_pass(self, name: str) -> None:
        for how, code in optimizer_controls(declared(LIKE[name])):
            assert failed(judged(LIKE[name], code)) == [], how

    def test_a_convention_is_right_with_advice_unless_the_declaration_says_one(self) -> None:
        each = LIKE["Momentum"]
        (other,) = conventions_of(each)
        code = class_text(each, other.rule)
        report = judged(each, code)
        assert report.passed
        assert ["rate" in str(one) for one in report.advice] == [True]
        strict = optimizer("Momentum", each.like, each.tries, conventions="reference")
        assert failed(judged(strict, code)) == ["settings"]

    def test_torchs_own_optimizer_in_disguise_is_flagged(self) -> None:
        code = "import torch\nclass Adam(torch.optim.Adam): pass\n"
        (flag,) = judged(LIKE["Adam"], code).flags
        assert (flag.kind, flag.evidence) == (
            "built-in-optimizer",
            "it is made of torch.optim.Adam",
        )

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            ("x = 1", "There is no class Momentum"),
            ("Momentum = print", "Momentum is not a class of torch.optim.Optimizer"),
            (MOMENTUM.replace("momentum=0.9", "mu=0.9"), "unexpected keyword argument 'momentum'"),
            (MOMENTUM.replace("p -= ", "raise NotImplementedError; p -= "), "is not written yet"),
        ],
    )
    def test_what_cannot_be_called_is_told_in_words(self, code: str, says: str) -> None:
        assert says in the_update(judged(LIKE["Momentum"], code)).message

    def test_the_same_seed_gives_the_same_report_and_another_one_other_values(self) -> None:
        code = MOMENTUM.replace("p -=", "p +=")
        one, again, other = (judged(LIKE["Momentum"], code, seed=s) for s in (1, 1, 2))
        assert one == again
        assert the_update(one).message == the_update(other).message
        assert the_update(one).staff != the_update(other).staff


class TestNames:
    def test_every_mistake_of_the_catalogue_fits_some_optimizer_and_has_a_hint(self) -> None:
        clipped = optimizer("Clipped", _clipped, [{"lr": 0.1, "max_norm": 1.0}])
        inside = optimizer("Inside", _inside, [{"lr": 0.1, "rho": 0.9, "eps": 1e-6}])
        warmed = optimizer("Warmed", _warmed, [{"lr": 0.1, "warmup": 3, "total": 9}])
        found = {
            name
            for each in (*LIKE.values(), clipped, inside, warmed)
            for wrong in (*mistakes_of(each), *conventions_of(each))
            for name in wrong.names
        }
        catalogue = catalogue_of(LIKE["Adam"])
        assert {*catalogue} - found == set()
        assert all(table["hint"] for table in catalogue.values())

    @pytest.mark.slow
    @pytest.mark.parametrize("name", LIKE)
    def test_a_step_taken_three_times_is_three_steps(self, name: str) -> None:
        like = LIKE[name]
        once = drawn(like, torch.Generator().manual_seed(0), ((3, 2), (3, 2)), absent=True)
        thrice = replace(once, steps=tuple(replace(each, times=3) for each in once.steps))
        apart = replace(once, steps=tuple(each for each in once.steps for _ in range(3)))
        rules = [each.rule for each in (*mistakes_of(like), *conventions_of(like))]
        for rule in filter(None, (like.rule, *rules)):
            *_, last = rule.path(thrice)
            *_, right = rule.path(apart)
            assert all(map(same, last, right)), str(rule)

    def test_a_mistake_and_a_pair_are_named_with_their_formula(self) -> None:
        code = class_text(
            LIKE["Adam"], _edited("Adam", "no-bias-correction", "epsilon-inside-root")
        )
        check = the_update(judged(LIKE["Adam"], code))
        assert check.diagnosis
        assert check.diagnosis.mistake == "no-bias-correction+epsilon-inside-root"
        assert check.diagnosis.formula.endswith("p = p - lr * m / sqrt(v + eps)")
        assert (
            "behaves like p = p - lr * m / sqrt(v + eps). The averages begin at 0" in check.message
        )

    def test_a_state_for_all_is_named_where_several_parameters_are_tried(self) -> None:
        code = MOMENTUM.replace("self.state[p]", "self.state['all']")
        (check,) = [
            each for each in judged(LIKE["Momentum"], code).checks if each.outcome == "failed"
        ]
        assert check.id == "momentum/state"
        assert check.diagnosis
        assert check.diagnosis.mistake == "state-shared"

    def test_the_level_of_feedback_keeps_the_formula_back(self) -> None:
        code = MOMENTUM.replace("p -=", "p +=")
        scope: dict[str, Any] = {}
        exec(code, scope)
        for level, told in (("where", False), ("hint", False), ("formula", True)):
            made = declared(LIKE["Momentum"])
            report = judge(made, Workbench(scope), settings=Settings(feedback=level)).report
            assert ("behaves like" in the_update(report).message) == told

    @pytest.mark.proof
    def test_of_variants_of_adam_only_equal_ones_pass_and_nearly_all_are_named(self) -> None:
        counts = {"equal": 0, "wrong": 0, "named": 0, "passed": 0}
        # All 576 take minutes: the guide to the checks has their figures.
        for rule in itertools.islice(variants_of_adam(), 0, None, 7):
            is_right = _leads_alike(rule, LIKE["AdamL2"].rule)
            report = judged(LIKE["AdamL2"], class_text(LIKE["AdamL2"], rule))
            check = the_update(report)
            assert report.passed == is_right, str(rule)
            counts["equal" if is_right else "wrong"] += 1
            counts["named"] += check.diagnosis is not None
            if check.diagnosis:
                assert _leads_alike(read_rule(check.diagnosis.formula), rule), str(rule)
        assert counts["wrong"] >= 70
        assert counts["named"] >= 0.95 * counts["wrong"], counts


class TestHandouts:
    def test_recorded_steps_stand_for_a_function_that_is_the_solution(self, tmp_path: Path) -> None:
        text = module_text(EXAMPLE)
        assert "def clipped" not in text
        assert "max_norm / " not in text
        (tmp_path / "optimizers_by_hand.py").write_text(text)
        made = load_assignment(EXAMPLE.name, tmp_path / "optimizers_by_hand.py")
        solved = (EXAMPLE / f"{EXAMPLE.name}.py").read_text()
        wrong = solved.replace("min(1.0, group", "max(1.0, group")
        for code, told in ((solved, []), (wrong, ["update"])):
            scope: dict[str, Any] = {}
            exec(code, scope)
            report = judge(made, Workbench(scope), only=_checks_of(made, "ClippedSGD")).report
            assert failed(report) == told

    def test_conventions_are_right_by_recorded_steps_too(self) -> None:
        def reference(p: Any, g: Any, state: Any, *, lr: float, mu: float) -> Any:
            state["v"] = mu * state.get("v", 0) + g
            return p - lr * state["v"]

        each = optimizer("Momentum", reference, [{"lr": 0.1, "mu": 0.9}])
        steps = RecordedSteps(record_steps(declared(each), each))
        (other,) = conventions_of(each)
        scope: dict[str, Any] = {}
        exec(class_text(each, other.rule), scope)
        home = declared(optimizer("Momentum", steps))
        report = judge(home, Workbench(scope)).report
        assert report.passed
        assert [str(one) for one in report.advice] == [
            str(one) for one in judge(declared(each), Workbench(scope)).report.advice
        ]

    def test_a_handout_of_signatures_keeps_the_courses_mistakes_back(self, tmp_path: Path) -> None:
        folder = declare(
            tmp_path,
            "descent",
            """
import torch
from harness.declare import assignment, optimizer

sgd = optimizer("SGD", torch.optim.SGD, [{"lr": 0.1}])
ASSIGNMENT = assignment("Descent", [sgd], mistakes="mistakes.toml", handout="signatures")
""",
        )
        (folder / "mistakes.toml").write_text(OWN)
        assert "mistakes" not in module_text(folder)


OWN = """
[rate-squared]
replace = { "lr * _x" = "lr ** 2 * _x" }
hint = "How often does the rate count?"

[uphill]
hint = "Walk down!"
"""


class TestOwnMistakes:
    def test_a_courses_own_catalogue_adds_mistakes_and_replaces_hints(self, tmp_path: Path) -> None:
        made = assignment("Descent", [LIKE["SGD"]], mistakes=_written(tmp_path, OWN))
        (each,) = made.optimizers
        for old, new, name, hint in (
            ("-=", "+=", "uphill", "Walk down!"),
            (
                'group["lr"] *',
                'group["lr"] ** 2 *',
                "rate-squared",
                "How often does the rate count?",
            ),
        ):
            code = SGD.replace(old, new)
            assert code != SGD
            check = the_update(judged(each, code))
            assert check.diagnosis
            assert (check.diagnosis.mistake, check.diagnosis.hint) == (name, hint)

    def test_for_stages_too(self, tmp_path: Path) -> None:
        relu = stage("ReLU", "z[N K] -> a", torch.relu, gradients={"z": "g * (z > 0)"})
        text = """
[no-mask]
stages = ["ReLU"]
gradients.z = "g"
hint = "For which z does a stay the same?"

[upstream-missing]
hint = "Where is g?"
"""
        made = assignment("Rectifiers", [relu], mistakes=_written(tmp_path, text))
        for body, name, hint in (
            ("g * 1", "no-mask", "For which z does a stay the same?"),
            ("(z > 0) * 1.0", "upstream-missing", "Where is g?"),
        ):
            scope: dict[str, Any] = {}
            exec(RELU.replace("«body»", body), scope)
            report = judge(replace(made, name="rectifiers"), Workbench(scope), seed=SEED).report
            diagnosis = report.checks[1].diagnosis
            assert diagnosis
            assert (diagnosis.mistake, diagnosis.hint) == (name, hint)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ('[x]\nhint = "h"\nstages = ["Relu"]', "there is no stage Relu"),
            ('[x]\nhint = "h"\nhabit = "sleeps"', "habit is one of"),
            ('[x]\nhint = "h"\nreplace = { "lr *" = "lr" }', "cannot be read"),
            ('[x]\nhint = "h"\nreplace = { "lr" = "g = g" }', "cannot replace lr"),
            ('[x]\nhint = "h"\ngradients.w = "g"', "fits none of the stages"),
            ("[x]\nhabit = 3", "habit must be a string"),
        ],
    )
    def test_what_cannot_be_used_is_one_sentence(
        self, tmp_path: Path, text: str, says: str
    ) -> None:
        with pytest.raises(UserError, match=says):
            assignment("Descent", [LIKE["SGD"]], mistakes=_written(tmp_path, text))


SGD = """
import torch

class SGD(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, dict(lr=lr))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p -= group["lr"] * p.grad
"""
RELU = """
import torch

class ReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return «body»
"""


class TestShown:
    def test_a_report_draws_the_path_and_a_named_mistake_beside_it(self) -> None:
        made = declared(LIKE["Momentum"])
        for code, count in ((MOMENTUM, 1), (MOMENTUM.replace("p -=", "p +="), 2)):
            scope: dict[str, Any] = {}
            exec(code, scope)
            shown = Handout(made).check(scope["Momentum"])
            (drawn_path,) = valley_pictures(made.optimizers, shown.report)
            assert drawn_path.svg.count("<polyline") == count
            assert drawn_path.svg in shown._repr_mimebundle_()["text/html"]

    def test_check_takes_optimizers_and_train_says_why_not(self) -> None:
        scope: dict[str, Any] = {}
        exec(MOMENTUM, scope)
        handout = Handout(declared(LIKE["Momentum"]))
        assert float(handout.check(scope["Momentum"])) == 10
        with pytest.raises(TypeError, match=r"its parts are Momentum"):
            handout.check(dict)


LIKE["AdamL2"] = optimizer(
    "AdamL2", torch.optim.Adam, [{"lr": 0.01, "betas": (0.9, 0.99), "weight_decay": 0.1}]
)


def variants_of_adam() -> Iterator[Rule]:
    """576 variants: bias correction, place of epsilon, decay, start of t, and square."""
    corrections = [
        ("1 - beta1 ** {t}", "1 - beta2 ** {t}"),
        ("1", "1"),
        ("1 - beta1 ** {t}", "1"),
        ("1", "1 - beta2 ** {t}"),
    ]
    epsilons = ["(sqrt({v}) + eps)", "sqrt({v} + eps)", "sqrt({v})", "max(sqrt({v}), eps)"]
    decays = [
        ("g = g + weight_decay * p; ", ""),
        ("", ""),
        ("g = g - weight_decay * p; ", ""),
        ("p = p - lr * weight_decay * p; ", ""),
        ("p = p - weight_decay * p; ", ""),
        ("", " - lr * weight_decay * p"),
    ]
    starts = ["t", "(t - 1)"]
    squares = ["g ** 2", "abs(g)", "g"]
    for (one, two), epsilon, (before, after), start, square in itertools.product(
        corrections, epsilons, decays, starts, squares
    ):
        m, v = (f"{name} / ({each.format(t=start)})" for name, each in (("m", one), ("v", two)))
        yield read_rule(
            f"{before}m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * {square}; "
            f"p = p - lr * ({m}) / {epsilon.format(v=v)}{after}"
        )


def _written(folder: Path, text: str) -> Path:
    path = folder / "mistakes.toml"
    path.write_text(text)
    return path


def _checks_of(made: Assignment, name: str) -> list[str]:
    return [check.id for check in plan(made, Settings()) if check.stage == name]


def _leads_alike(one: Rule, other: Rule | None) -> bool:
    assert other is not None
    trajectory = drawn(LIKE["AdamL2"], torch.Generator().manual_seed(7), ((2,), (2,)), absent=True)
    try:
        pairs = list(zip(one.path(trajectory), other.path(trajectory), strict=True))
    except ArithmeticError:
        return False
    return all(
        torch.allclose(a, b, rtol=1e-9, equal_nan=True)
        for x, y in pairs
        for a, b in zip(x, y, strict=True)
    )


def _edited(name: str, *mistakes: str) -> Rule:
    return next(each.rule for each in reversed([*combined(LIKE[name])]) if each.names == mistakes)


def _clipped(p: Any, g: Any, state: Any, *, lr: float, max_norm: float, total_norm: Any) -> Any:
    g = g * min(1, max_norm / total_norm)
    return p - lr * g


def _warmed(p: Any, g: Any, state: Any, *, lr: float, warmup: int, total: int, t: int) -> Any:
    done = min(1, max(0, t - warmup) / (total - warmup))
    rate = lr * min(1, t / warmup) * 0.5 * (1 + math.cos(math.pi * done))
    return p - rate * g


def _inside(p: Any, g: Any, state: Any, *, lr: float, rho: float, eps: float) -> Any:
    state["s"] = rho * state.get("s", 0) + (1 - rho) * g**2
    return p - lr * g / torch.sqrt(state["s"] + eps)
