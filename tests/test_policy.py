"""Ways round the work are flagged with their lines and keep their marks; right work never is."""

from __future__ import annotations

import textwrap

import pytest
import torch

from grading.confined.definitions import run_definitions
from grading.parsing.source import Cell, Source
from grading.sandbox.redaction import Redactor
from grading.sandbox.remote import RemoteCandidate
from harness.candidate.operations import Observe, Observed, Other, Returns, Seen
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment
from harness.course.settings import Limits, Settings
from harness.judging.judge import judge
from tests.right import MANY, ONE
from tests.right import WeightedSum as WeightedSumOfMany

MANY_NEURONS = load_assignment("many-neurons")
ONE_NEURON = load_assignment("one-neuron")
SIGMOID_CHECKS = ["sigmoid/forward", "sigmoid/gradient/z"]
HEAD = """
import math
import sys
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import Function
"""


class NotGraded(Exception):
    pass


def classes(code, name="submission.py"):
    """What the code defines, run as a student's process runs it."""
    source = Source((Cell(name, code),), notebook=name.startswith("<"))
    done = run_definitions(source, [], None, lambda *_: None, ignored=NotGraded)
    assert not done.failed
    return done.module.__dict__


def sigmoid(backward, *, before="", forward="", head=HEAD):
    """A module with a Sigmoid that saves z and has the given lines in backward."""
    lines = textwrap.indent(textwrap.dedent(backward).strip(), " " * 8)
    into = textwrap.indent(textwrap.dedent(forward).strip(), " " * 8)
    return f"""{head}
{textwrap.dedent(before)}

class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
{into}
        return torch.sigmoid(z)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
{lines}
"""


def report_on(code, assignment=MANY_NEURONS, only=SIGMOID_CHECKS, settings=None):
    right = MANY if assignment is MANY_NEURONS else ONE
    names = {**right, **classes(code)}
    return judge(assignment, Workbench(names), only=only, settings=settings).report


WITH_GRAD = """
with torch.enable_grad():
    z = z.detach().requires_grad_()
    a = torch.sigmoid(z)
"""
DELEGATING = {
    "autograd.grad": sigmoid(WITH_GRAD + "return torch.autograd.grad(a, z, g)[0]"),
    "an alias": sigmoid(
        WITH_GRAD + "return d(a, z, g)[0]", before="from torch.autograd import grad as d"
    ),
    "a short name": sigmoid(
        WITH_GRAD + "return ag.grad(a, z, g)[0]", before="ag = torch.autograd"
    ),
    "a name of its own": sigmoid(
        WITH_GRAD + "return slope(a, z, g)[0]", before="slope = torch.autograd.grad"
    ),
    "an import inside": sigmoid(
        "from torch import autograd as helper\n" + WITH_GRAD + "return helper.grad(a, z, g)[0]"
    ),
    "getattr": sigmoid(WITH_GRAD + "return getattr(torch.autograd, 'grad')(a, z, g)[0]"),
    "a made up name": sigmoid(
        WITH_GRAD + "return getattr(torch.autograd, 'gr' + 'ad')(a, z, g)[0]"
    ),
    "eval": sigmoid(WITH_GRAD + "return eval('torch.autograd.grad')(a, z, g)[0]"),
    "a helper": sigmoid(
        "return slope_of(torch.sigmoid, z, g)",
        before="""
        def slope_of(f, z, g):
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                return torch.autograd.grad(f(z), z, g)[0]
        """,
    ),
    "a helper of a helper": sigmoid(
        "return outer(z, g)",
        before="""
        def inner(z, g):
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                return torch.autograd.grad(z.sigmoid(), z, g)[0]

        def outer(z, g):
            return inner(z, g)
        """,
    ),
    "a nested function": sigmoid(
        """
        def inner():
            with torch.enable_grad():
                x = z.detach().requires_grad_()
                return torch.autograd.grad(x.sigmoid(), x, g)[0]
        return inner()
        """
    ),
    "a closure": sigmoid(
        "return slope(z, g)",
        before="""
        def slope_of(f, d=torch.autograd.grad):
            def slope(z, g):
                with torch.enable_grad():
                    z = z.detach().requires_grad_()
                    return d(f(z), z, g)[0]
            return slope

        slope = slope_of(torch.sigmoid)
        """,
    ),
    "a lambda": sigmoid(
        "with torch.enable_grad():\n    return slope(z.detach().requires_grad_(), g)",
        before="slope = lambda z, g: torch.autograd.grad(z.sigmoid(), z, g)[0]",
    ),
    "a decorator": sigmoid(
        "return work(z.detach().requires_grad_(), g)",
        before="""
        @torch.enable_grad()
        def work(z, g):
            return torch.autograd.grad(z.sigmoid(), z, g)[0]
        """,
    ),
    "a class of helpers": sigmoid(
        "return Tools().slope(z, g)",
        before="""
        class Tools:
            def slope(self, z, g):
                with torch.enable_grad():
                    z = z.detach().requires_grad_()
                    return torch.autograd.grad(z.sigmoid(), z, g)[0]
        """,
    ),
    "backward": sigmoid(
        """
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            F.sigmoid(z).backward(g)
        return z.grad
        """
    ),
    "backward of a local": sigmoid(WITH_GRAD + "a.backward(g)\nreturn z.grad"),
    "Tensor.backward": sigmoid(WITH_GRAD + "torch.Tensor.backward(a, g)\nreturn z.grad"),
    "autograd.backward": sigmoid(WITH_GRAD + "torch.autograd.backward(a, g)\nreturn z.grad"),
    "grad_fn": sigmoid(WITH_GRAD + "return a.grad_fn(g)"),
    "set_grad_enabled": sigmoid(
        """
        torch.set_grad_enabled(True)
        z = z.detach().requires_grad_()
        return torch.autograd.grad(z.sigmoid(), z, g)[0]
        """
    ),
    "func.vjp": sigmoid("return torch.func.vjp(torch.sigmoid, z)[1](g)[0]"),
    "func.grad and vmap": sigmoid(
        "d = torch.func.vmap(torch.func.grad(torch.sigmoid))\n"
        "return g * d(z.reshape(-1)).reshape(z.shape)"
    ),
    "func.jvp": sigmoid("return g * torch.func.jvp(torch.sigmoid, (z,), (torch.ones_like(z),))[1]"),
    "functional.vjp": sigmoid(
        "return torch.autograd.functional.vjp(torch.sigmoid, z, g)[1]"
    ),
    "aten": sigmoid("return torch.ops.aten.sigmoid_backward(g, torch.sigmoid(z))"),
    "aten, kept": sigmoid(
        "return slope(g, torch.sigmoid(z))",
        before="slope = torch.ops.aten.sigmoid_backward.default",
    ),
    "a module": sigmoid(
        """
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            layer(z).backward(g)
        return z.grad
        """,
        before="layer = nn.Sigmoid()",
    ),
    "in forward already": sigmoid(
        "return g * ctx.slope",
        forward="""
        with torch.enable_grad():
            x = z.detach().requires_grad_()
            ctx.slope = torch.autograd.grad(x.sigmoid().sum(), x)[0]
        """,
    ),
    "a base class": sigmoid(WITH_GRAD + "return torch.autograd.grad(a, z, g)[0]").replace(
        "class Sigmoid", "class Base"
    )
    + "\nclass Sigmoid(Base):\n    pass\n",
    "another class": sigmoid(
        "return Other.backward(ctx, g)",
        before="""
        class Other(Function):
            @staticmethod
            def backward(ctx, g):
                (z,) = ctx.saved_tensors
                with torch.enable_grad():
                    z = z.detach().requires_grad_()
                    return torch.autograd.grad(z.sigmoid(), z, g)[0]
        """,
    ),
    "a branch not taken": sigmoid(
        "if len(g) > 10**6:\n    return torch.autograd.grad(z, z, g)\n"
        "a = torch.sigmoid(z)\nreturn g * a * (1 - a)"
    ),
}  # fmt: skip
FINITE = {
    "central": sigmoid(
        "h = 1e-6\nreturn g * (torch.sigmoid(z + h) - torch.sigmoid(z - h)) / (2 * h)"
    ),
    "apart": sigmoid(
        "up, down = torch.sigmoid(z + 1e-5), torch.sigmoid(z - 1e-5)\nreturn g * (up - down) / 2e-5"
    ),
    "forward": sigmoid(
        "return g * (s(z + EPS) - s(z)) / EPS",
        before="EPS = 1e-8\ndef s(z):\n    return 1 / (1 + torch.exp(-z))",
    ),
    "a helper": sigmoid(
        "return g * numeric(torch.sigmoid, z)",
        before="""
        def numeric(f, z, h=1e-6):
            return (f(z + h) - f(z - h)) / (2 * h)
        """,
    ),
    "numpy": sigmoid(
        "z, h = z.numpy(), 1e-6\nreturn g * torch.from_numpy((s(z + 1e-6) - s(z - 1e-6)) / 2e-6)",
        before="def s(z):\n    return 1 / (1 + np.exp(-z))",
    ),
    "vmap": sigmoid(
        """
        h = 1e-6
        steps = h * torch.eye(z.numel(), dtype=z.dtype).reshape(-1, *z.shape)
        change = lambda step: torch.sigmoid(z + step) - torch.sigmoid(z - step)
        return g * torch.func.vmap(change)(steps).sum(0) / (2 * h)
        """
    ),
    "entry by entry": sigmoid(
        """
        h, slope = 1e-6, torch.zeros_like(z)
        for at in np.ndindex(*z.shape):
            up, down = z.clone(), z.clone()
            up[at] += h
            down[at] -= h
            slope[at] = (torch.sigmoid(up) - torch.sigmoid(down))[at] / (2 * h)
        return g * slope
        """
    ),
}  # fmt: skip
INSPECTING = {
    "sys._getframe": sigmoid("sys._getframe()\na = z.sigmoid()\nreturn g * a * (1 - a)"),
    "inspect": sigmoid("import inspect as i\ni.stack(0)\na = z.sigmoid()\nreturn g * a * (1 - a)"),
    "a frame": sigmoid(
        "try:\n    raise ValueError\nexcept ValueError as e:\n    e.__traceback__.tb_frame\n"
        "a = z.sigmoid()\nreturn g * a * (1 - a)"
    ),
    "gc": sigmoid(
        "things(0)\na = z.sigmoid()\nreturn g * a * (1 - a)",
        before="from gc import get_objects as things",
    ),
    "ctypes": sigmoid("__import__('ctypes').c_int\na = z.sigmoid()\nreturn g * a * (1 - a)"),
    "in forward": sigmoid("a = z.sigmoid()\nreturn g * a * (1 - a)", forward="sys._getframe(0)"),
}
BUILT_IN = {
    "apply put in": HEAD + "class Sigmoid(Function):\n    apply = staticmethod(torch.sigmoid)\n",
    "apply written": HEAD + "class Sigmoid(Function):\n    @staticmethod\n    def apply(z):\n"
    "        return nn.Sigmoid()(z)\n",
}
WAYS_ROUND = [
    *(("delegates-to-autograd", name, code) for name, code in DELEGATING.items()),
    *(("finite-differences", name, code) for name, code in FINITE.items()),
    *(("inspects-the-grader", name, code) for name, code in INSPECTING.items()),
    *(("built-in-in-place", name, code) for name, code in BUILT_IN.items()),
]


@pytest.mark.slow
# A student's process ignores warnings.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "code"),
    [pytest.param(kind, code, id=f"{kind}: {name}") for kind, name, code in WAYS_ROUND],
)
def test_a_way_round_the_work_is_flagged_and_keeps_its_values(kind, code):
    report = report_on(code)
    assert [flag.kind for flag in report.flags] == [kind]
    assert report.flags[0].stage == "Sigmoid"
    assert check_of(report, "sigmoid/gradient/z").outcome == "passed"


RIGHT = {
    "numpy": sigmoid("a = 1 / (1 + np.exp(-z.numpy()))\nreturn g * torch.from_numpy(a * (1 - a))"),
    "computed again": sigmoid(
        "a = s(z)\nreturn g * a * (1 - a)", before="def s(z):\n    return 1 / (1 + torch.exp(-z))"
    ),
    "computed twice": sigmoid("return g * torch.sigmoid(z) * (1 - torch.sigmoid(z))"),
    "at two points": sigmoid("return g * torch.sigmoid(z) * torch.sigmoid(-z)"),
    "a safe logarithm": sigmoid(
        "a, eps = torch.sigmoid(z), 1e-300\n"
        "return g * torch.exp(torch.log(a + eps) + torch.log(1 - a + eps))"
    ),
    "a difference": sigmoid("a = torch.sigmoid(z)\nreturn g * (a - a * a)"),
    "a complement": sigmoid("a = torch.sigmoid(z)\nreturn g * a * (torch.ones_like(a) - a)"),
    "once_differentiable": sigmoid("a = torch.sigmoid(z)\nreturn g * a * (1 - a)").replace(
        "    def backward", "    @torch.autograd.function.once_differentiable\n    def backward"
    ),
    "non-differentiable": sigmoid(
        "a = torch.sigmoid(z)\nreturn g * a * (1 - a)",
        forward="ctx.mark_non_differentiable(z > 0)",
    ),
    "a helper called grad": sigmoid(
        "return grad(z, g)",
        before="def grad(z, g):\n    a = torch.sigmoid(z)\n    return g * a * (1 - a)",
    ),
    "a helper that hides torch's": sigmoid(
        "return grad(z, g)",
        before="from torch.autograd import grad\n"
        "def grad(z, g):\n    a = torch.sigmoid(z)\n    return g * a * (1 - a)",
    ),
    "names like torch's": sigmoid(
        "grad, backward, vjp = g, torch.sigmoid(z), 1\nreturn grad * backward * (vjp - backward)"
    ),
    "a parameter called d": sigmoid(
        "return scaled(lambda x: x * (1 - x), torch.sigmoid(z), g)",
        before="from torch.autograd import grad as d\ndef scaled(d, a, g):\n    return g * d(a)",
    ),
    "no_grad": sigmoid("with torch.no_grad():\n    a = torch.sigmoid(z)\nreturn g * a * (1 - a)"),
    "vmap": sigmoid(
        "slope = torch.func.vmap(lambda z: torch.sigmoid(z) * torch.sigmoid(-z))\n"
        "return g * slope(z)"
    ),
    "own Function inside": sigmoid(
        "a = Sigmoid.apply(z)\nreturn g * a * (1 - a)",
    ),
    "a loop": sigmoid(
        """
        slope = torch.zeros_like(z)
        for at in np.ndindex(*z.shape):
            a = 1 / (1 + math.exp(-z[at].item()))
            slope[at] = a * (1 - a)
        return g * slope
        """
    ),
    "signature": sigmoid(
        "import inspect\ninspect.signature(math.exp)\na = z.sigmoid()\nreturn g * a * (1 - a)"
    ),
    "super": sigmoid("a = torch.sigmoid(z)\nreturn g * a * (1 - a)").replace(
        "class Sigmoid", "class Base"
    )
    + "\nclass Sigmoid(Base):\n    @staticmethod\n    def backward(ctx, g):\n"
    "        return super(Sigmoid, Sigmoid).backward(ctx, g)\n",
    "apply of its own": sigmoid("a = torch.sigmoid(z)\nreturn g * a * (1 - a)")
    + """
    @classmethod
    def apply(cls, *inputs):
        return super().apply(*inputs)
""",
    "checks beside it": sigmoid("a = torch.sigmoid(z)\nreturn g * a * (1 - a)")
    + """
    @staticmethod
    def check():
        z = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(Sigmoid.apply(z).sum(), z)

z = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
torch.autograd.gradcheck(Sigmoid.apply, z)
result = torch.autograd.grad(torch.sigmoid(z).sum(), z)
a = torch.sigmoid(z)
a.backward(torch.ones_like(a))
numeric = (torch.sigmoid(z + 1e-6) - torch.sigmoid(z - 1e-6)) / 2e-6
print(Sigmoid.check(), sys._getframe())
""",
}


@pytest.mark.parametrize("code", [pytest.param(code, id=name) for name, code in RIGHT.items()])
def test_right_work_that_comes_near_is_not_flagged(code):
    report = report_on(code)
    assert report.flags == ()
    assert check_of(report, "sigmoid/gradient/z").outcome == "passed"


def check_of(report, id):
    return next(check for check in report.checks if check.id == id)


def test_the_evidence_says_what_was_seen_and_where():
    (flag,) = report_on(DELEGATING["autograd.grad"]).flags
    assert flag.evidence.startswith(
        "line 25: `return torch.autograd.grad(a, z, g)[0]` "
        "(in the source: torch.autograd.grad; as it ran: aten.sigmoid_backward); "
    )


def test_the_evidence_is_short_however_much_there_is():
    lines = "\n".join(f"torch.autograd.grad  # {at} {'x' * 99}" for at in range(99))
    (flag,) = report_on(sigmoid(f"{lines}\na = z.sigmoid()\nreturn g * a * (1 - a)")).flags
    assert len(flag.evidence) == 1_000


def test_a_flag_leaves_the_mark_as_it_is():
    report = report_on(DELEGATING["autograd.grad"], only=None)
    assert report.flags
    assert report.score == 10


@pytest.mark.parametrize("names", [MANY, ONE])
def test_plain_right_work_gets_no_flag_and_no_advice(names):
    assignment = MANY_NEURONS if names is MANY else ONE_NEURON
    report = judge(assignment, Workbench(names)).report
    assert (report.flags, report.advice) == ((), ())


class TestWhereTheSettingsGiveNoPoints:
    """One kind of evidence can cost a stage its points, and no other stage anything."""

    RULES = Settings(policy={"delegates-to-autograd": "zero"})

    def test_the_stage_gets_none_and_the_message_has_the_rule_and_the_line(self):
        report = report_on(DELEGATING["autograd.grad"], only=None, settings=self.RULES)
        gone = sum(check.max_points for check in report.checks if check.stage == "Sigmoid")
        assert report.score == pytest.approx(10 - gone)
        check = check_of(report, "sigmoid/gradient/z")
        assert check.outcome == "failed"
        assert "has built-in autograd work out the gradient, at line 25: `return torch" in (
            check.message
        )
        assert check.staff.startswith("delegates-to-autograd: line 25")
        waiting = check_of(report, "sigmoid/purity")
        assert (waiting.outcome, waiting.waits_for) == ("not_run", "sigmoid/gradient/z")
        assert report.flags

    def test_other_kinds_of_evidence_cost_nothing(self):
        report = report_on(FINITE["central"], settings=self.RULES)
        assert report.flags and check_of(report, "sigmoid/gradient/z").outcome == "passed"

    def test_preparations_alone_bring_no_more_than_a_flag(self):
        """A graph that nobody asks for a derivative is no way round the work."""
        code = sigmoid("with torch.enable_grad():\n    a = z.sigmoid()\nreturn g * a * (1 - a)")
        report = report_on(code, settings=self.RULES)
        assert [flag.kind for flag in report.flags] == ["delegates-to-autograd"]
        assert check_of(report, "sigmoid/gradient/z").outcome == "passed"

    def test_a_gradient_that_is_wrong_besides_keeps_its_own_message(self):
        class Halves(WeightedSumOfMany):
            @staticmethod
            def backward(ctx, g):
                a_prev, w = ctx.saved_tensors
                with torch.enable_grad():
                    w = w.detach().requires_grad_()
                    (gw,) = torch.autograd.grad(a_prev @ w.T, w, g)
                return g, gw, g.sum(0)

        names = {**MANY, "WeightedSum": Halves}
        report = judge(MANY_NEURONS, Workbench(names), settings=self.RULES).report
        assert "returned shape (5, 7)" in check_of(report, "weighted-sum/gradient/a_prev").message
        assert "built-in autograd" in check_of(report, "weighted-sum/gradient/w").message
        assert check_of(report, "weighted-sum/gradient/b").waits_for == "weighted-sum/gradient/w"
        assert report.score == pytest.approx(
            sum(check.points for check in report.checks if check.stage != "WeightedSum")
        )

    def test_right_work_keeps_its_points(self):
        report = judge(MANY_NEURONS, Workbench(MANY), settings=self.RULES).report
        assert report.passed

    def test_a_student_who_may_read_the_verdict_only_reads_no_more(self):
        rules = Settings(feedback="verdict", policy=self.RULES.policy)
        report = report_on(DELEGATING["autograd.grad"], settings=rules)
        assert check_of(report, "sigmoid/gradient/z").message == ""


def test_evidence_that_the_settings_ignore_makes_no_flag():
    rules = Settings(policy={"delegates-to-autograd": "ignore"})
    assert report_on(DELEGATING["autograd.grad"], settings=rules).flags == ()


# Whoever looks can tell that it is being watched.
WATCHED = "torch.utils._python_dispatch._get_current_dispatch_mode()"


def test_what_goes_wrong_in_the_testimony_costs_nothing():
    plain = "a = torch.sigmoid(z)\nreturn g * a * (1 - a)"
    report = report_on(sigmoid(f"if {WATCHED}:\n    raise ValueError\n{plain}"), only=None)
    assert report.score == 10


ADVICE = {
    "kept on ctx": (
        sigmoid("a = ctx.kept\nreturn g * a * (1 - a)", forward="ctx.kept = torch.sigmoid(z)"),
        "ctx.save_for_backward",
    ),
    "kept in a list": (
        sigmoid(
            "a, _ = ctx.kept\nreturn g * a * (1 - a)", forward="ctx.kept = [torch.sigmoid(z), 3]"
        ),
        "ctx.save_for_backward",
    ),
    "numpy": (RIGHT["numpy"], "@once_differentiable"),
    "a slope that is saved": (
        HEAD
        + """
class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.save_for_backward(a * (1 - a))
        return a

    @staticmethod
    def backward(ctx, g):
        (slope,) = ctx.saved_tensors
        return g * slope
""",
        "@once_differentiable",
    ),
}


@pytest.mark.parametrize(
    ("code", "said"), [pytest.param(*case, id=name) for name, case in ADVICE.items()]
)
def test_what_is_worth_knowing_is_said_in_one_sentence(code, said):
    report = report_on(code)
    assert check_of(report, "sigmoid/gradient/z").outcome == "passed"
    (advice,) = report.advice
    assert said in advice.text
    assert advice.text.count(". ") == 0 and advice.text.endswith(".")
    assert str(advice).count("Sigmoid") == 1


def test_once_differentiable_and_setup_context_need_no_advice():
    class Setup(torch.autograd.Function):
        @staticmethod
        def forward(z):
            return torch.sigmoid(z)

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(output)

        @staticmethod
        def backward(ctx, g):
            (a,) = ctx.saved_tensors
            return g * a * (1 - a)

    once = classes(RIGHT["once_differentiable"])["Sigmoid"]
    for each in (Setup, once):
        report = judge(MANY_NEURONS, Workbench({**MANY, "Sigmoid": each})).report
        assert report.passed
        assert (report.flags, report.advice) == ((), ())


def graded(zygote, code):
    source = Source((Cell("submission.py", code),), notebook=False)
    with RemoteCandidate(
        zygote, source, Limits(call_seconds=1.0, submission_seconds=60.0)
    ) as remote:
        return judge(ONE_NEURON, remote).report, remote.doubtful


WEIGHTED_SUM = """
class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return w * a_prev + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g * w, g * a_prev, g
"""
SQUARED_ERROR = """
class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return (a - y) ** 2

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        sys._getframe()
        return g * 2 * (a - y), None
"""
OTHERS = WEIGHTED_SUM + SQUARED_ERROR


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    ["os._exit(0)", "exec('while True: pass')", "time.sleep(99)", "os.write(3, b'x' * 99)"],
)
def test_a_death_in_the_testimony_costs_no_mark_and_hides_no_other_stage(zygote, statement):
    plain = "a = torch.sigmoid(z)\nreturn g * a * (1 - a)"
    dying = sigmoid(f"if {WATCHED}:\n    {statement}\n{plain}", head=f"{HEAD}import os, time\n")
    report, doubtful = graded(zygote, dying + OTHERS)
    assert report.passed and report.score == 10
    assert not doubtful
    assert [(flag.kind, flag.stage) for flag in report.flags] == [
        ("inspects-the-grader", "SquaredError")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["autograd.grad", "a helper", "aten"])
def test_a_students_own_process_tells_the_same(zygote, name):
    near = report_on(DELEGATING[name]).flags
    report, _ = graded(zygote, DELEGATING[name] + OTHERS)
    assert report.passed
    assert tuple(flag for flag in report.flags if flag.stage == "Sigmoid") == near


@pytest.mark.slow
def test_right_work_gets_no_flag_and_no_advice_from_its_own_process(zygote):
    right = RIGHT["computed again"] + OTHERS.replace("sys._getframe()", "pass")
    report, _ = graded(zygote, right)
    assert report.passed
    assert (report.flags, report.advice) == ((), ())


def test_introspection_is_told_in_words_of_the_source():
    words = Redactor(Source((Cell("submission.py", "first\nsecond = 3"),), notebook=False))
    told = Observed(
        named=(
            Seen("torch.autograd.grad", "line 2", "a secret"),
            Seen("<b>0.123</b>", "line 99"),
            Seen("torch.autograd.grad", "line 2"),
            Seen("grad_fn", "line 02"),
            Seen("grad_fn", "line ٢"),
        ),
        dispatched=(Seen("aten.sigmoid_backward", "line 1"), Seen("aten.of_0_123", "line 1")),
        built_in="\x1b[31m",
    )
    said = words.own(told)
    assert isinstance(said, Observed)
    assert said.named == (
        Seen("torch.autograd.grad", "line 2", "second = 3"),
        Seen("grad_fn", ""),
    )
    assert said.dispatched == (Seen("aten.sigmoid_backward", "line 1", "first"),)
    assert said.built_in == "function"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("sparse tensor", "sparse tensor"),
        ("float8_e4m3fn tensor", "float8_e4m3fn tensor"),
        ("0123 tensor", "tensor of another kind or size than the engine takes"),
        ("sparse tensor of 0123", "tensor of another kind or size than the engine takes"),
        ("0123", "object"),
    ],
)
def test_what_is_returned_in_place_of_a_tensor_is_told_in_known_words(kind, told):
    words = Redactor(Source((Cell("submission.py", "first"),), notebook=False))
    assert words.own(Returns((Other(kind),))) == Returns((Other(told),))


@pytest.mark.parametrize("code", DELEGATING.values(), ids=DELEGATING)
def test_all_that_testimony_honestly_says_passes(code):
    z = torch.ones(2, 3, dtype=torch.float64)
    (told,) = Workbench(classes(code)).perform([Observe("Sigmoid", (z,), (True,), (z,), (True,))])
    assert isinstance(told, Observed)
    words = Redactor(Source((Cell("submission.py", code),), notebook=False)).own(told)
    assert isinstance(words, Observed)
    assert {each.what for each in words.named} == {each.what for each in told.named}
    assert {each.what for each in words.dispatched} == {each.what for each in told.dispatched}
    assert words.built_in == told.built_in
