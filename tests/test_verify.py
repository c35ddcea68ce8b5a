"""`backprop verify` passes where all is well, and names what is off where it is not."""

from __future__ import annotations

import ast
import json
from collections import Counter
from dataclasses import replace
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from grading.cli import main
from grading.results.lines import Result, Seconds
from grading.verify import text as show
from grading.verify.case import Case, Solution, read_solution
from grading.verify.hints import hints_of, hints_of_pairs, pairs_of, undone
from grading.verify.mutants import formulas_of, mistakes_of, sources_of
from grading.verify.run import Proof, cases_of, judged, verify
from grading.verify.text import print_proof
from grading.verify.verdicts import Verdict, verdict_on
from grading.workers.batch import grade_entries
from grading.workers.jobs import Job
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment
from harness.course.report import Check, Flag, Report
from harness.course.settings import Limits, Settings
from harness.declare import stage
from harness.errors import UserError
from harness.formulas.same import same_as_true
from harness.judging.judge import judge
from harness.probes import plan

ROOT = Path(__file__).resolve().parent.parent
PLAIN = ROOT / "tests" / "sample_class" / "many-neurons" / "submissions" / "right-plain.py"
MANY = load_assignment("many-neurons")
RIGHT = Solution("right.py", PLAIN.read_bytes())
RELU = stage(
    "ReLU",
    "z[N K] -> a",
    lambda z: z.clamp(min=0),
    formula="a = max(0, z)",
    gradients={"z": "g * (z > 0)"},
    points={"z": 2.0},
)
WITH_RELU = RIGHT.followed_by(
    '''class ReLU(Function):
    """a = max(0, z)"""

    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        (z,) = ctx.saved_tensors
        return g * (z > 0)
'''
)


def nothing(doing, done, of):
    """Progress that nobody watches."""


def near(assignment, stage):
    """A judge of the checks of one stage, on classes in this process."""
    ids = [check.id for check in plan(assignment, Settings()) if check.stage == stage.name]

    def results(entries):
        for entry in entries:
            scope: dict[str, object] = {}
            exec(compile(Path(entry.paths[0]).read_bytes(), entry.name, "exec"), scope)
            report = judge(assignment, Workbench(scope), only=ids).report
            yield result_of(entry.name, report)

    return results


def result_of(name, report):
    return Result(
        submission=name,
        assignment=report.assignment,
        status="graded",
        score=report.score,
        max_score=report.max_score,
        checks=list(report.checks),
        digest="",
        seconds=Seconds(0.0, 0.0),
    )


def mutants_near(assignment, stage, solution, spawner=None):
    cases = [*mistakes_of(stage, solution), *formulas_of(stage, solution)]
    if spawner:
        cases += sources_of(stage, solution, spawner, Limits())
    # The end of a training is not judged here.
    cases = [each for each in cases if each.claims != ("training",)]
    return judged(cases, near(assignment, stage), nothing)


def off(verdicts):
    return {verdict.case.name: verdict.why for verdict in verdicts if verdict.outcome == "off"}


@pytest.mark.slow
def test_a_stage_of_an_instructors_own_gets_mutants_that_are_all_rejected(zygote):
    """Declared in ten lines, with nothing said about mistakes."""
    declared = replace(MANY, stages=(*MANY.stages, RELU))
    verdicts = mutants_near(declared, RELU, Solution("relu.py", WITH_RELU), zygote)
    assert off(verdicts) == {}
    made = Counter((each.case.kind, each.outcome) for each in verdicts)
    assert made["mistake", "rejected"] > 25
    assert made["formula", "rejected"] > 40
    assert made["source", "rejected"] > 50
    same = [each for each in verdicts if each.outcome == "equivalent"]
    assert "g * (z >= 0)  (another comparison)" in {each.case.text for each in same}


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(stage, id=stage.name, marks=pytest.mark.slow if quick else pytest.mark.proof)
        for stage in MANY.stages
        for quick in [stage.name == "Sigmoid"]
    ],
)
def test_mistakes_and_formulas_are_rejected_by_the_check_that_claims_them(stage):
    assert off(mutants_near(MANY, stage, RIGHT)) == {}


@pytest.mark.proof
def test_a_mutant_that_survives_is_named():
    """Without extreme values there is no check of stability, and overflow goes unseen."""
    blind = replace(MANY.stage("Sigmoid"), extremes={})
    declared = replace(MANY, stages=(MANY.stages[0], blind, MANY.stages[2]))
    found = off(mutants_near(declared, blind, RIGHT))
    assert "survives" in found["mistake sigmoid/overflowing-slope"]
    assert "sigmoid/stability should have failed" in found["mistake sigmoid/overflowing-slope"]
    assert len(found) == 5


def test_a_hint_leads_to_full_marks_and_one_that_leads_elsewhere_is_named():
    """Who has read another hint than that of the mistake is not led on by it."""
    known = {each.name: each for each in MANY.stage("Sigmoid").mistakes}
    lost = replace(known["second-factor-lost"], repair={"z": "multiply by a"})
    sigmoid = replace(MANY.stage("Sigmoid"), mistakes=(known["z-for-a"], lost))
    declared = replace(MANY, stages=(MANY.stages[0], sigmoid, MANY.stages[2]))
    mutants = [
        each for each in mistakes_of(sigmoid, RIGHT) if each.name.endswith(("z-for-a", "lost"))
    ]
    verdicts = judged(mutants, near(declared, sigmoid), nothing)
    hints = judged([*hints_of(declared, RIGHT, verdicts)], near(declared, sigmoid), nothing)
    assert [each.outcome for each in hints] == ["right", "off"]
    assert hints[1].case.text == "∂C/∂z = g * a: multiply by a"
    assert "does not get full marks" in hints[1].why


@pytest.mark.parametrize(
    ("kind", "delegates", "flag", "outcome"),
    [
        ("hint", True, "delegates-to-autograd", "right"),
        ("hint", True, "finite-differences", "off"),
        ("hint", False, "delegates-to-autograd", "off"),
        ("control", False, "delegates-to-autograd", "off"),
    ],
)
def test_a_case_may_ask_autograd_for_a_gradient_that_is_not_declared(
    kind, delegates, flag, outcome
):
    flags = [Flag(flag, "Sigmoid", "torch.autograd.grad")]
    right = result_of("a", Report("many-neurons", ()))
    result = msgspec.structs.replace(right, flags=flags)
    case = Case("a", kind, ".py", b"", delegates=delegates)
    assert verdict_on(case, result).outcome == outcome


def test_the_case_of_a_hint_says_whether_it_asks_autograd():
    whole = MANY.stage("WeightedSum")
    (known,) = [each for each in whole.mistakes if each.name == "bias-averaged"]
    part = replace(whole, gradients={name: whole.gradients[name] for name in ("w", "b")})
    for weighted_sum, asks in ((whole, False), (part, True)):
        declared = replace(MANY, stages=(replace(weighted_sum, mistakes=(known,)),))
        (mutant,) = [
            each
            for each in mistakes_of(declared.stages[0], RIGHT)
            if each.name.endswith(known.name)
        ]
        (hint,) = hints_of(declared, RIGHT, [Verdict(mutant, (), "rejected")])
        assert hint.delegates == asks == (b"autograd.grad" in hint.data)


@pytest.mark.proof
@pytest.mark.parametrize("stage", MANY.stages, ids=lambda stage: stage.name)
def test_undoing_two_mistakes_that_can_be_told_together_gets_full_marks(stage):
    cases = [*hints_of_pairs(stage, RIGHT)]
    assert len(cases) > 100
    verdicts = judged(cases, near(MANY, stage), nothing)
    assert off(verdicts) == {}


def test_two_mistakes_are_undone_in_the_order_that_leads_on():
    """A sign is turned inside of what the other mistake has changed."""
    relu = load_assignment("classifier").stage("ReLU")
    pairs = {(one.mistake, other.mistake): text for one, other, text in pairs_of(relu, "z")}
    assert len(pairs) > 50
    repairs = {each.name: each.repair["z"] for each in relu.mistakes}
    for names in (each for each in pairs if {*each} <= {*repairs}):
        steps = [repairs[each] for each in names]
        right = undone(relu, "z", pairs[names], steps, relu.gradients)
        assert same_as_true(relu, "z", right), names


def verdict_of(data, kind, *, stage=MANY.stages[1], **more):
    case = Case("it", kind, ".py", data, stage=stage.slug, **more)
    return judged([case], near(MANY, stage), nothing)[0]


WRONG = RIGHT.data.replace(b"g * a * (1 - a)", b"g * z * (1 - a)")
STUB = RIGHT.data.replace(b"return g * a * (1 - a)", b"raise NotImplementedError")


def test_a_solution_that_is_wrong_is_named_with_the_check():
    assert verdict_of(RIGHT.data, "solution").outcome == "right"
    verdict = verdict_of(WRONG, "solution")
    assert verdict.outcome == "off"
    assert "sigmoid/gradient/z failed" in verdict.why
    assert "NameError" in verdict.why


def test_a_handout_with_the_answer_left_in_is_named_with_its_points():
    assert verdict_of(STUB, "handout").outcome == "right"
    verdict = verdict_of(RIGHT.data, "handout")
    assert verdict.outcome == "off"
    assert verdict.why == "gets 2.2 points as it is"


def test_a_right_mutant_that_is_rejected_is_a_wrong_verdict():
    assert verdict_of(RIGHT.data, "source", same="the same").outcome == "equivalent"
    verdict = verdict_of(WRONG, "source", same="the same")
    assert verdict.outcome == "off"
    assert "and yet sigmoid/gradient/z failed" in verdict.why
    assert "survives" in verdict_of(RIGHT.data, "source").why


def check_line(id, outcome):
    return Check(id, None, id, outcome, 0.0, 1.0, None, "", "", None, None)


def result_with(failed=(), error=(), **more):
    ids = ["sigmoid/gradient/z", "squared-error/gradient/a", "squared-error/gradient/y", "training"]
    outcomes = dict.fromkeys(failed, "failed") | dict.fromkeys(error, "error")
    checks = [check_line(id, outcomes.get(id, "passed")) for id in ids]
    score = float(sum(check.outcome == "passed" for check in checks))
    given = {"status": "graded", "score": score, "max_score": 4.0, **more}
    common = {"submission": "it", "assignment": "many-neurons", "digest": ""}
    return msgspec.convert(
        {**common, **given, "checks": checks, "seconds": Seconds(0.0, 0.0)},
        Result,
        from_attributes=True,
    )


def mutant(kind="mistake", claims=("squared-error/gradient/a",)):
    return Case("it", kind, ".py", b"", stage="squared-error", claims=claims)


def test_blame_on_another_stage_is_off():
    verdict = verdict_on(mutant(), result_with(["squared-error/gradient/a", "sigmoid/gradient/z"]))
    assert verdict.why == "blames another stage: sigmoid/gradient/z"


def test_blame_on_another_gradient_is_off_unless_backward_raised():
    both = ["squared-error/gradient/a", "squared-error/gradient/y"]
    for kind in ("mistake", "formula"):
        verdict = verdict_on(mutant(kind), result_with(both))
        assert verdict.why == "blames what is right: squared-error/gradient/y"
        assert verdict_on(mutant(kind), result_with(error=both)).outcome == "rejected"


def test_a_mistake_rejected_by_another_check_than_it_claims_is_off():
    verdict = verdict_on(mutant(), result_with(["training"]))
    assert verdict.why == "is not rejected by squared-error/gradient/a, but by training"


def test_what_the_grader_could_not_grade_is_off():
    verdict = verdict_on(
        mutant(), result_with(status="grader_error", reason="It broke.", score=None)
    )
    assert (verdict.outcome, verdict.why) == ("off", "is grader_error: It broke.")


def test_a_control_that_is_flagged_is_off():
    control = Case("control", "control", ".py", b"")
    flag = {"kind": "delegates", "stage": None, "evidence": "autograd.grad"}
    assert verdict_on(control, result_with()).outcome == "right"
    assert verdict_on(control, result_with(flags=[flag])).why == "is flagged: autograd.grad"


def proof_with(*verdicts):
    checks = tuple(check.id for check in plan(MANY, Settings()))
    return Proof("many-neurons", 0, checks, verdicts)


def printed(proof):
    text = StringIO()
    print_proof(Console(file=text, width=100), proof)
    return text.getvalue()


SURVIVOR = Verdict(mutant(), (), "off", "survives: every check passed")
STOPPED = Verdict(mutant(), ("squared-error/memory",), "rejected")


def test_the_table_counts_mutants_by_check_and_fits_100_columns():
    text = printed(proof_with(STOPPED, STOPPED, SURVIVOR))
    row = next(line for line in text.splitlines() if line.startswith("squared-error/memory"))
    assert row.split() == ["squared-error/memory", "2", "–", "–", "2", "2"]
    assert "✗ 2 of 3 mutants rejected" in text
    assert "✗ it survives: every check passed" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(("verdicts", "code"), [([STOPPED], 0), ([STOPPED, SURVIVOR], 1)])
def test_the_command_exits_1_when_anything_is_off(tmp_path, monkeypatch, verdicts, code):
    monkeypatch.setattr(show, "verify", lambda *_: proof_with(*verdicts))
    file = tmp_path / "proof.json"
    done = CliRunner().invoke(main, ["verify", "many-neurons", "--json", str(file)])
    assert done.exit_code == code, done.output
    (proof,) = json.loads(file.read_text())
    assert proof["assignment"] == "many-neurons"
    assert [each["outcome"] for each in proof["verdicts"]] == [each.outcome for each in verdicts]


def test_a_folder_without_solutions_cannot_be_verified(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["verify"])
    assert done.exit_code == 2
    assert "run this in the course's folder" in done.output


def test_a_course_that_is_not_released_cannot_be_verified(tmp_path):
    folder = tmp_path / "solutions" / "many-neurons"
    folder.mkdir(parents=True)
    (folder / "many-neurons.py").write_bytes(RIGHT.data)
    with pytest.raises(UserError, match="backprop release"):
        verify(tmp_path, "many-neurons", 1, 0, nothing)


def test_a_solution_is_one_module_or_notebook(tmp_path):
    with pytest.raises(UserError, match="it holds none"):
        read_solution(tmp_path)
    (tmp_path / "one.py").write_text("x = 1")
    assert list(read_solution(tmp_path).defined()) == []
    (tmp_path / "two.py").write_text("x = 1")
    with pytest.raises(UserError, match=r"one\.py, two\.py"):
        read_solution(tmp_path)


def test_code_that_follows_a_notebook_counts():
    solution = read_solution(ROOT / "solutions" / "many-neurons")
    more = Solution(solution.name, solution.followed_by("class Sigmoid:\n    pass"))
    assert len(more.source.cells) == len(solution.source.cells) + 1
    assert ast.unparse(more.defined()["Sigmoid"]) == "class Sigmoid:\n    pass"


@pytest.mark.proof
@pytest.mark.parametrize("name", ["one-neuron", "many-neurons"])
def test_a_sample_of_everything_is_right_behind_the_wall(name, zygote):
    """The whole of it is `make verify`."""
    solution = read_solution(ROOT / "solutions" / name)
    handout = read_solution(ROOT / "assignments" / name)
    assignment = load_assignment(name)
    cases = cases_of(assignment, solution, handout, Settings(), zygote, nothing)
    kinds = Counter(each.kind for each in cases)
    assert kinds["control"] >= 60 and kinds["mistake"] > 200
    assert kinds["formula"] > 200 and kinds["source"] > 200

    def behind_the_wall(entries):
        return grade_entries(entries, Job(name, Settings(), 0), 2, zygote)

    sample = cases[:6] + cases[6::37]
    assert off(judged(sample, behind_the_wall, nothing)) == {}
