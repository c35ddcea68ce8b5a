"""Cases that expose wrong backwards: how they are read, judged, kept back, and told of."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from grading.nbgrader.handout import module_text
from grading.parsing.source import read_source
from grading.sandbox import open_spawner
from grading.sandbox.remote import RemoteCandidate
from grading.verify.case import read_solution
from grading.verify.detective import detective_controls, detective_mutants
from grading.verify.equivalents import equivalents_for
from grading.verify.styles import catalogue, written
from harness.candidate import operations as ops
from harness.candidate.workbench import Workbench
from harness.cases.exhibits import ABSOLUTE, RELATIVE, DetectiveContext, Exhibit
from harness.cases.given import Unusable, read_case
from harness.course.assignment import Assignment
from harness.course.assignments import load_assignment
from harness.course.detective import NUMBERS, Detective
from harness.course.report import Check, Report
from harness.course.settings import Limits, Settings, for_student
from harness.declare import DeclarationError, assignment, detective, labels, mask, stage
from harness.detective import DETECTIVE
from harness.errors import UserError
from harness.formulas.same import generic_cases
from harness.judging.judge import judge
from harness.judging.validation import validate
from harness.notebook import Handout
from harness.probes import plan
from harness.show import report_html, report_text
from tests import wired
from tests.own_course import declare

ROOT = Path(__file__).parent.parent
RELU = stage("ReLU", "z[N K] -> a", torch.relu, gradients={"z": "g * (z > 0)"})
UPSIDE, PASSED, SQUARED = {"z": "g * (z < 0)"}, {"z": "g"}, {"z": "g ** 2 * (z > 0)"}
GOOD = {"z": [[0.5, -1.5, 2.0]], "g": [[-2.0, 3.0, 1.5]]}


def declared(of: Detective) -> Assignment:
    """An assignment of one detective."""
    return replace(assignment("Detective", [of]), name="cases")


def judged(
    returned: object, of: Detective | None = None, settings: Settings | None = None
) -> Report:
    """The report on what a function returns, or on a function."""
    each = of or detective("cases", RELU, shown=[UPSIDE], hidden=[PASSED, SQUARED])
    names = {"cases": returned if callable(returned) else lambda: returned}
    return judge(declared(each), Workbench(names), seed=5, settings=settings).report


def outcomes(report: Report) -> dict[str, str]:
    """The outcome of each check."""
    return {each.id.partition("/")[2]: each.outcome for each in report.checks}


def check_of(report: Report, kind: str) -> Check:
    """A check of the report."""
    return next(each for each in report.checks if each.id == f"cases/{kind}")


class Odd(dict[str, Any]):
    """A dictionary that answers otherwise when it is asked again."""

    asked = 0

    def items(self) -> Any:
        self.asked += 1
        return GOOD.items() if self.asked == 1 else {}.items()


class Marked(Tensor):
    """A subclass of tensors that does not want to be used."""

    @classmethod
    def __torch_function__(cls, *_: object, **__: object) -> Any:
        raise RuntimeError


RIGHT: dict[str, Any] = {
    "lists": [GOOD],
    "tuples": ({name: tuple(map(tuple, rows)) for name, rows in GOOD.items()},),
    "tensors": [{name: torch.tensor(rows) for name, rows in GOOD.items()}],
    "that require a gradient": [
        {name: torch.tensor(rows, requires_grad=True) for name, rows in GOOD.items()}
    ],
    "a subclass": [{name: torch.tensor(rows).as_subclass(Marked) for name, rows in GOOD.items()}],
    "arrays": [{name: np.array(rows) for name, rows in GOOD.items()}],
    "small integers": [
        {"z": torch.tensor([[3, -2]], dtype=torch.int8), "g": np.array([[-2, 3]], dtype=np.int16)}
    ],
    "numbers of all kinds": [
        {"z": [[Fraction(1, 2), np.float32(-1.5), torch.tensor(2)]], "g": [range(2, 5)]}
    ],
    "one case": GOOD,
    "another mapping": [OrderedDict(GOOD)],
    "changing": [Odd()],
}


@pytest.mark.parametrize("form", RIGHT)
def test_numbers_in_any_form_expose_the_same(form: str) -> None:
    report = judged(RIGHT[form])
    assert report.passed, [(each.id, each.message) for each in report.checks]


def test_cases_may_come_one_by_one_and_the_function_is_called_once() -> None:
    calls = []

    def cases() -> Iterator[object]:
        calls.append(1)
        while True:
            yield GOOD

    report = judged(cases)
    assert [*calls] == [1]
    assert outcomes(report).pop("cases") == "failed"
    assert {each for kind, each in outcomes(report).items() if kind != "cases"} == {"passed"}
    assert (
        check_of(report, "cases").message == "cases returns more than 5 cases: the first 5 count."
    )


def _endless() -> list[Any]:
    nested: list[Any] = []
    nested.append(nested)
    return nested


UNUSABLE: dict[str, tuple[object, str]] = {
    "nothing": (None, "cases returns no case."),
    "no case": ([], "cases returns no case."),
    "a number": (3, "Case 1: it must be a dictionary, not int."),
    "text": ("abc", "Case 1: it must be a dictionary, not str."),
    "a list": ([[1.0]], "Case 1: it must be a dictionary, not list."),
    "without g": ([{"z": [[1.0]]}], "Case 1: g is missing."),
    "None": ([GOOD, {"z": None, "g": [[1.0]]}], "Case 2: z is missing."),
    "another name": ([{**GOOD, "w": 1}], "Case 1: 'w' is not known; a case has z, g."),
    "a key that is not text": ([{**GOOD, 3: 1}], "Case 1: '3' is not known; a case has z, g."),
    "not a number": (
        [{**GOOD, "z": [[math.nan] * 3]}],
        "z has a number that is not finite.",
    ),
    "infinity": ([{**GOOD, "g": [[math.inf] * 3]}], "g has a number that is not finite."),
    "a huge integer": ([{**GOOD, "z": [[10**400]]}], "(list)."),
    "complex numbers": ([{**GOOD, "z": [[1j]]}], "(list)."),
    "a ragged list": (
        [{**GOOD, "z": [[1.0], [1.0, 2.0]]}],
        "with rows of equal length",
    ),
    "endless nesting": ([{**GOOD, "z": _endless()}], "(list)."),
    "words": ([{**GOOD, "z": "1, 2"}], "(1, 2)."),
    "an object": ([{**GOOD, "z": object()}], "(object)."),
    "sparse": ([{**GOOD, "z": torch.eye(2).to_sparse()}], "(Tensor)."),
    "another shape": ([{**GOOD, "z": 1.0}], "Case 1: z has shape (), and must have (N, K)."),
    "g of another shape": (
        [{**GOOD, "g": 1.0}],
        "Case 1: g has shape (), and must have (1, 3), that of a.",
    ),
    "no numbers": ([{"z": torch.zeros(0, 3), "g": torch.zeros(0, 3)}], "Case 1: "),
    "many numbers": ([{**GOOD, "z": torch.ones(1, 10**6)}], f"z has more than {NUMBERS} numbers."),
    "many numbers in an array": (
        [{**GOOD, "z": np.broadcast_to(1.0, (10**6, 10**6))}],
        "z has more than 500 numbers.",
    ),
    "many numbers in a range": ([{**GOOD, "z": [range(10**9)]}], "z has more than 500 numbers."),
}


@pytest.mark.parametrize("form", UNUSABLE)
def test_what_cannot_be_used_is_told_in_one_sentence_and_exposes_nothing(form: str) -> None:
    returned, said = UNUSABLE[form]
    report = judged(returned)
    check = check_of(report, "cases")
    assert check.outcome == "failed"
    assert said in check.message
    assert "\n" not in check.message
    if form != "None":
        assert report.score == 0
        assert {*outcomes(report).values()} == {"failed", "not_run"}


def test_a_function_that_raises_is_an_error_and_earns_nothing() -> None:
    def cases() -> object:
        return [{**GOOD, "z": 1 / 0}]

    report = judged(cases)
    assert check_of(report, "cases").outcome == "error"
    assert "division by zero" in check_of(report, "cases").message
    assert report.score == 0


def test_harmless_cases_that_expose_nothing_earn_nothing() -> None:
    report = judged([{"z": [[-1.0]], "g": [[0.0]]}])
    assert report.score == 0
    assert check_of(report, "cases").outcome == "not_run"


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ({"z": [[0.0, 1.0]], "g": [[2.0, 3.0]]}, "nudging by h = 1e−06 either way gives 1"),
        ({"z": [[1e-7, 1.0]], "g": [[2.0, 3.0]]}, "Is there a kink between the two nudges"),
        ({"z": [[1e11, 1.0]], "g": [[2.0, 3.0]]}, "lost in rounding"),
    ],
)
def test_a_case_at_which_a_right_backward_fails_costs_its_points_and_exposes_nothing(
    case: dict[str, Any], said: str
) -> None:
    report = judged([case])
    check = check_of(report, "right")
    assert check.message.startswith("Case 1 makes a right backward fail, so it exposes nothing.")
    assert said in check.message
    assert report.score == 0
    both = judged([case, GOOD])
    assert [each.id for each in both.checks if each.outcome != "passed"] == ["cases/right"]


def test_a_right_backward_written_otherwise_has_to_pass_too() -> None:
    naive = stage("Softplus", "z[N] -> a", F.softplus, gradients={"z": "g * sigmoid(z)"})
    other = {"z": "g * exp(z) / (1 + exp(z))"}
    of = detective("cases", naive, shown=[{"z": "g"}], hidden=[], right=[other])
    assert judged([{"z": [0.5], "g": [2.0]}], of).passed
    report = judged([{"z": [800.0, 0.5], "g": [2.0, 2.0]}], of)
    assert "written in another way, its ∂C/∂z[0] is nan" in check_of(report, "right").message


class TestTelling:
    def test_what_exposes_a_shown_backward_is_told_in_numbers(self) -> None:
        report = judged([{"z": [[1.0]], "g": [[2.0]]}, GOOD])
        check = check_of(report, "shown/1")
        assert check.outcome == "passed"
        assert check.title == "A case exposes ∂C/∂z = g * (z < 0)"
        assert check.message == "Case 1 exposes it: its ∂C/∂z[0, 0] is 0, and 2 is right."
        assert check.message in " ".join(report_text(report, width=1000).split())

    @pytest.mark.parametrize("feedback", ["verdict", "where"])
    def test_below_the_level_of_hints_no_value_is_told(self, feedback: Any) -> None:
        report = judged([{"z": [[1.0]], "g": [[2.0]]}, GOOD], settings=Settings(feedback=feedback))
        assert check_of(report, "shown/1").outcome == "passed"
        assert check_of(report, "shown/1").message == ""

    def test_what_exposes_nothing_says_what_it_gave(self) -> None:
        report = judged([{"z": [[1.0]], "g": [[1.0]]}], detective("cases", RELU, shown=[SQUARED]))
        assert check_of(report, "shown/1").message == (
            "This backward passes in the only case that counts. In case 1 it returns the right "
            "∂C/∂z, 1."
        )

    def test_hidden_backwards_are_told_by_number_only(self) -> None:
        of = detective("cases", RELU, shown=[UPSIDE], hidden=[PASSED, SQUARED, {"z": "g * 7"}])
        for returned in (
            [GOOD],
            [{"z": [[1.0]], "g": [[1.0]]}],
            [{"z": [[0.0]], "g": [[1.0]]}],
            [],
        ):
            report = for_student(judged(returned, of), Settings(feedback="solution"))
            texts = (json.dumps(report.as_dict()), report_text(report))
            for text in (*texts, report_html(report, declared(of))):
                assert "g ** 2" not in text
                assert "* 7" not in text

    def test_in_a_notebook_a_list_is_refused_with_the_functions_name(self) -> None:
        check = Handout(declared(detective("cases", RELU, shown=[UPSIDE]))).check
        with pytest.raises(TypeError, match="its parts are cases"):
            check([GOOD])  # type: ignore[arg-type]

        def cases() -> object:
            return [GOOD]

        assert float(check(cases)) == check(cases).report.max_score == 10


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, Tensor) else value


def in_lists(each: Any, of: Any) -> dict[str, object]:
    """A case of the judge's own as a student's."""
    case: dict[str, object] = {}
    for name, one in of.inputs.items():
        values = [_plain(each.inputs[at]) for at in of.places(name, each.inputs)]
        case[name] = values if one.several else values[0]
    return case | {
        name: _plain(value) for name, value in zip(of.upstreams, each.upstreams[0], strict=True)
    }


def cell(x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Two outputs."""
    return x * h, x + h


# Of many kinds: each with a wrong backward.
KINDS = {
    "labels": (
        stage("Loss", "s[N K], y[N] -> C", F.cross_entropy, inputs={"y": labels("K")}),
        {"s": "g * softmax(s, 1) / N"},
    ),
    "a mask": (
        stage("Drop", "x[N D], m[N D] -> z", lambda x, m: x * m, inputs={"m": mask()}),
        {"x": "g"},
    ),
    "given values": (
        stage(
            "Pool",
            "x[N C W], width, kind -> z",
            lambda x, width, kind: F.avg_pool1d(x, width) * (2 if kind == "twice" else 1),
            inputs={"width": [2, 3], "kind": ["once", "twice"]},
            sizes="W >= width",
        ),
        {"x": "zeros_like(x)"},
    ),
    "an optional tensor": (
        stage(
            "Affine",
            "x[N D], w[K D], b?[K] -> z",
            F.linear,
        ),
        {"b": "g.mean(0)"},
    ),
    "several outputs": (stage("Cell", "x[N], h[N] -> p, q", cell), {"x": "g_p * h"}),
    "several tensors": (
        stage("Cat", "w[D], xs*[N D] -> z", lambda w, *xs: torch.cat(xs) * w),
        {"w": "g.sum(0)"},
    ),
    "an expression": (
        stage("Gates", "w[(2 * H) D], x[D], h[H] -> z", lambda w, x, h: (w @ x) * h.repeat(2)),
        {"h": "g[:H]"},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_any_stage_can_be_declared(kind: str) -> None:
    of, wrong = KINDS[kind]
    each = detective("cases", of, hidden=[wrong])
    validate(declared(each))
    cases = [in_lists(case, of) for case in generic_cases(of)[:5]]
    report = judged(cases, each)
    assert report.passed, [(one.id, one.message) for one in report.checks]


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("labels", {"y": [7] * 9}, "y "),
        ("labels", {"y": 0.5}, "y has shape ()"),
        ("a mask", {"m": 3.0}, "m has shape ()"),
        ("given values", {"width": 4}, "width must be one of 2, 3."),
        ("given values", {"kind": "thrice"}, "kind must be one of 'once', 'twice'."),
        ("several outputs", {"g_p": None, "g_q": None}, "g_p is missing."),
        ("an expression", {"x": [1.0] * 9}, "x has shape (9,), and must have (D), at H = "),
    ],
)
def test_what_does_not_fit_the_declaration_is_told(
    kind: str, change: dict[str, Any], said: str
) -> None:
    of, wrong = KINDS[kind]
    case = in_lists(generic_cases(of)[0], of) | change
    report = judged([case], detective("cases", of, hidden=[wrong]))
    assert said in check_of(report, "cases").message


json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("zgaw"), inner),
    max_leaves=20,
)


@pytest.mark.slow
@given(json_like | st.lists(st.dictionaries(st.sampled_from(["z", "g", ""]), json_like)))
@settings(max_examples=60, deadline=None)
def test_whatever_is_returned_crosses_the_wire_and_is_judged(returned: object) -> None:
    bench = Workbench({"cases": lambda: returned})
    of = detective("cases", RELU, shown=[UPSIDE])

    class Far:
        def perform(self, operations: Sequence[ops.Operation]) -> list[ops.Reply]:
            return wired.answered(bench.perform(wired.asked(operations)))

        def renew(self) -> Far:
            return self

    near, far = (judge(declared(of), each).report for each in (bench, Far()))
    assert near == far
    assert {each.outcome for each in near.checks} <= {"passed", "failed", "not_run"}


values = st.one_of(
    st.just(ops.Other("x")),
    st.none(),
    st.builds(
        lambda shape, dtype: torch.zeros(shape, dtype=dtype),
        st.lists(st.integers(0, 3), max_size=4),
        st.sampled_from([torch.float64, torch.float32, torch.int8, torch.bool, torch.complex64]),
    ),
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(["z", "g", "w", ""]), values))
@settings(max_examples=100, deadline=None)
def test_a_hostile_reply_is_a_case_or_unusable(reply: dict[str, ops.Returned]) -> None:
    of = detective("cases", RELU, shown=[UPSIDE])
    try:
        (z,), (g,) = read_case(of, reply)
    except Unusable:
        return
    assert isinstance(z, Tensor)
    assert g is not None
    assert z.dtype == g.dtype == torch.float64
    assert z.shape == g.shape
    assert z.numel() > 0


class TestDeclaring:
    def test_all_known_mistakes_that_a_gradient_check_sees_are_hidden_by_default(self) -> None:
        of = detective("cases", RELU)
        assert len(of.hidden) > 4
        names = [each.name for each in of.hidden if each]
        assert "upstream-squared" in names
        assert "float32-inside" not in names
        some = detective("cases", RELU, shown=["upstream-squared"])
        assert [each.name for each in some.hidden if each] == [
            name for name in names if name != "upstream-squared"
        ]

    @pytest.mark.parametrize(
        ("how", "says"),
        [
            ({"shown": ["unheard-of"]}, "no mistake of ReLU is called 'unheard-of'"),
            ({"shown": [{"w": "g"}]}, "w is not an input of ReLU"),
            ({"shown": [UPSIDE], "right": [{"zed": "g"}]}, "zed is not an input of ReLU"),
            ({"hidden": []}, "no wrong backward is known"),
            ({"cases": 0}, "cases must be a whole number from 1 to 20"),
            ({"cases": 2.5}, "cases must be a whole number from 1 to 20"),
            ({"cases": True}, "cases must be a whole number from 1 to 20"),
            ({"name": "two words"}, "cannot be the name of a function"),
            ({"name": "class"}, "cannot be the name of a function"),
            ({"name": 5}, "cannot be the name of a function"),
            ({"name": "check"}, "choose another"),
            ({"name": "ReLU"}, "choose another"),
            ({"shown": "upstream-squared"}, "shown must be a list, not str"),
            ({"shown": None}, "shown must be a list, not NoneType"),
            ({"shown": [3]}, "3 is not a dictionary"),
            ({"shown": [{}]}, "is not a dictionary such as"),
            ({"shown": ["upstream-sqared"]}, "Did you mean upstream-squared?"),
            ({"shown": [{"z": "g *"}]}, r"'g \*' cannot be read"),
            ({"shown": [{"z": None}]}, "None is not an expression"),
            ({"shown": [UPSIDE, UPSIDE]}, "is given twice"),
            ({"shown": [UPSIDE], "hidden": [UPSIDE]}, "is given twice"),
            ({"shown": [UPSIDE], "right": "g"}, "right must be a list, not str"),
            ({"shown": [UPSIDE], "right": ["g"]}, "'g' is not a dictionary"),
            ({"shown": [UPSIDE], "of": "ReLU"}, "'ReLU' is not a stage"),
        ],
    )
    def test_what_cannot_be_declared_says_why_and_where(
        self, how: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(DeclarationError, match=rf"test_detective\.py, line \d+: .*{says}"):
            detective(how.pop("name", "cases"), how.pop("of", RELU), **how)

    @pytest.mark.parametrize(
        ("how", "says"),
        [
            ({"shown": [{"z": "g * (z > 0) * 1.0"}]}, "is right, as far as"),
            ({"shown": [{"z": "h * z"}]}, "unknown name h"),
            ({"shown": [UPSIDE], "right": [{"z": "g"}]}, "is among the right ones"),
        ],
    )
    def test_what_is_wrongly_called_right_or_wrong_is_refused(
        self, how: dict[str, Any], says: str
    ) -> None:
        with pytest.raises(UserError, match=says):
            validate(declared(detective("cases", RELU, **how)))

    def test_points_are_shared_out_equally_beside_stages(self) -> None:
        of = detective("cases", RELU, shown=[UPSIDE], hidden=[PASSED, SQUARED])
        checks = plan(replace(assignment("Both", [RELU, of]), name="both"), Settings())
        worth = {each.id: each.max_points for each in checks}
        assert sum(worth.values()) == pytest.approx(10)
        assert {worth[f"cases/{kind}"] for kind in ("cases", "right", "hidden/1")} == {1.0}


HIDDEN = """
from harness.declare import Mistake, assignment, detective, stage
import torch

relu = stage(
    "ReLU", "z[N K] -> a", torch.relu, gradients={"z": "g * (z > 0)"},
    mistakes=[Mistake("mine", {"z": "g * (z > 0.625)"}, hint="My hint.")],
)
WRONG = [{"z": "g * 3 * (z > 0)"}, "mine"]
ASSIGNMENT = assignment("Cases", [detective("cases", relu, shown=[{"z": "g"}], hidden=WRONG)])
"""


class TestHandouts:
    def test_hidden_backwards_are_in_no_handout_and_wait_for_grading(self, tmp_path: Path) -> None:
        folder = declare(tmp_path, "cases", HIDDEN)
        text = module_text(folder)
        for secret in ("* 3", "0.625", "mine", "My hint"):
            assert secret not in text
        (tmp_path / "cases_assignment.py").write_text(text, encoding="utf-8")
        home = load_assignment("cases", tmp_path / "cases_assignment.py")
        report = judge(home, Workbench({"cases": lambda: [GOOD]})).report
        assert outcomes(report) == {
            "cases": "passed",
            "right": "passed",
            "shown/1": "passed",
            "hidden/1": "not_run",
            "hidden/2": "not_run",
        }
        said = report_text(report)
        assert "waits for grading: hidden 1, hidden 2" in said
        assert "Everything holds." in said
        there = load_assignment("cases", folder / "assignment.py")
        assert judge(there, Workbench({"cases": lambda: [GOOD]})).report.passed

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("hidden=WRONG", "hidden=WRONG, right=[WRONG[0]]"),
            ('detective("cases", relu, shown=[{"z": "g"}], hidden=WRONG)', "detective(*NAMED)"),
        ],
    )
    def test_a_hidden_backward_that_would_be_handed_out_is_refused(
        self, tmp_path: Path, old: str, new: str
    ) -> None:
        text = HIDDEN.replace(old, new).replace("WRONG =", 'NAMED = "cases", relu\nWRONG =')
        folder = declare(tmp_path, "cases", text)
        with pytest.raises(UserError, match="a hidden backward of cases would be handed out"):
            module_text(folder)

    def test_the_chapters_hidden_backwards_are_in_no_notebook(self) -> None:
        for folder in ("assignments", "solutions"):
            text = (ROOT / folder / "detective" / "detective.ipynb").read_text(encoding="utf-8")
            bare = text.replace(" ", "")
            for of in DETECTIVE.detectives:
                for wrong in filter(None, of.hidden):
                    assert wrong.name not in text
                    known = {"g", "2 * g", *of.stage.gradients.values()}
                    for expression in {*wrong.gradients.values()} - known:
                        assert expression.replace(" ", "").strip("()") not in bare


def one_hot_exhibits(of: Detective, seeds: int = 5) -> list[Exhibit]:
    """All upstreams of gradcheck, at inputs in general position and at ones."""
    found: list[Exhibit] = []
    for seed in range(seeds):
        sizes = {"N": 4, "K": 3 if of.name == "mean_error_cases" else 2, "n_in": 3}
        inputs = of.stage.sample(torch.Generator().manual_seed(seed), sizes, seed)
        if seed == 0:
            inputs = tuple(torch.ones_like(each) for each in inputs if isinstance(each, Tensor))
        (output,) = of.stage.run(inputs)
        for row in torch.eye(output.numel(), dtype=torch.float64):
            found.append(Exhibit(of, len(found) + 1, inputs, (row.reshape(output.shape),)))
    return found


class TestChapter:
    def test_gradchecks_own_upstreams_expose_three_quarters_at_most(self) -> None:
        exposed, total = 0, 0
        for of in DETECTIVE.detectives:
            exhibits = one_hot_exhibits(of)
            wrong = [each for each in (*of.shown, *of.hidden) if each]
            found = sum(any(one.exposes(each.gradients) for one in exhibits) for each in wrong)
            assert found <= 0.75 * len(wrong), of.name
            exposed, total = exposed + found, total + len(wrong)
        # The notebook tells these numbers.
        assert (total, total - exposed) == (43, 17)
        text = (ROOT / "solutions" / "detective" / "detective.ipynb").read_text(encoding="utf-8")
        assert f"of our {total} suspects, {total - exposed} survive all of them" in text

    def test_one_random_case_exposes_more_than_all_of_them(self) -> None:
        exposed = 0
        for of in DETECTIVE.detectives:
            for seed in range(10):
                generator = torch.Generator().manual_seed(seed)
                inputs = of.stage.sample(generator, {"N": 4, "K": 3, "n_in": 2})
                shape = of.stage.run(inputs)[0].shape
                g = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
                case = Exhibit(of, 1, inputs, (g,))
                assert not case.unfair
                wrong = [each for each in (*of.shown, *of.hidden) if each]
                exposed += sum(bool(case.exposes(each.gradients)) for each in wrong)
        assert round(exposed / 10) == 40

    def test_ones_let_more_than_half_through(self) -> None:
        exposed = 0
        for of in DETECTIVE.detectives:
            one = one_hot_exhibits(of, 1)[0]
            ones = Exhibit(of, 1, one.inputs, (torch.ones_like(of.stage.run(one.inputs)[0]),))
            wrong = [each for each in (*of.shown, *of.hidden) if each]
            exposed += sum(bool(ones.exposes(each.gradients)) for each in wrong)
        assert exposed < 43 / 2

    def test_every_right_class_passes_at_the_solutions_cases(self) -> None:
        """The right styles with which the checks of the other chapters are tested."""
        scope: dict[str, Any] = {}
        for cell in read_solution(ROOT / "solutions" / "detective").source.cells:
            if "### BEGIN" in cell.text:
                exec(cell.text, scope)
        homes = {"SquaredError": ("one-neuron", "many-neurons"), "WeightedSum": ("many-neurons",)}
        for of in DETECTIVE.detectives:

            class _Solved(torch.autograd.Function):
                @staticmethod
                def forward(ctx: Any, *inputs: Tensor, _run: Any = of.stage.run) -> Tensor:
                    found: Tensor = _run(inputs)[0]
                    return found

            context = DetectiveContext(of, Workbench(scope))
            assert context.exhibits
            assert not any(each.unfair for each in context.exhibits)
            for home in homes.get(of.stage.name, ("classifier",)):
                if of.stage.is_scalar is not (home == "one-neuron"):
                    continue
                for how, right in equivalents_for(home, of.stage).items():
                    made: dict[str, Any] = {f"Solved{of.stage.name}": _Solved}
                    exec(catalogue().head + written(of.stage, right, "plain"), made)
                    for each in context.exhibits:
                        answers = _backward(made[of.stage.name], each)
                        for name, true in each.right.items():
                            got = answers[of.stage.position(name)]
                            if got is not None:
                                torch.testing.assert_close(
                                    got, true, rtol=RELATIVE, atol=ABSOLUTE, msg=f"{how}, {name}"
                                )


def _backward(made: Any, each: Exhibit) -> tuple[Tensor | None, ...]:
    inputs = [value.clone().requires_grad_() for value in each.inputs if isinstance(value, Tensor)]
    found: tuple[Tensor | None, ...] = torch.autograd.grad(
        made.apply(*inputs), inputs, each.upstream, allow_unused=True
    )
    return found


@pytest.mark.proof
def test_a_solution_in_other_forms_is_right_and_tame_ones_are_rejected(tmp_path: Path) -> None:
    of = declared(detective("cases", RELU, shown=[UPSIDE], hidden=[PASSED, SQUARED]))
    (tmp_path / "cases.py").write_text(f"def cases():\n    return [{GOOD!r}]\n", encoding="utf-8")
    solution = read_solution(tmp_path)
    with open_spawner() as spawner:

        def score(data: bytes) -> float:
            source = read_source(solution.name, data)
            with RemoteCandidate(spawner, source, Limits()) as remote:
                return judge(of, remote, seed=3).report.score

        controls = [code for _, code in detective_controls(of)]
        assert [score(solution.followed_by(code)) for code in controls] == [10] * len(controls)
        mutants = [*detective_mutants(of, solution, spawner, Limits())]
        assert [each.text for each in mutants if each.same] == ["one case"]
        scores = {each.text: score(each.data) for each in mutants}
        assert [text for text, each in scores.items() if each == 10] == ["one case"]
