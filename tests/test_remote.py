"""A student's code in a real child of a real zygote: what it does costs its own stage only."""

from __future__ import annotations

import inspect
import os
import textwrap
import time

import pytest
from torch import Tensor

from benchmarks.meter import descendants
from grading.attacks import FOLDER, read
from grading.confined import tensors
from grading.parsing.source import Cell, Source
from grading.sandbox import SpawnerError
from grading.sandbox.fresh import FreshProcesses
from grading.sandbox.remote import RemoteCandidate
from grading.sandbox.zygote import Zygote
from grading.workers.grader import advice_on
from harness.course.assignments import load_assignment
from harness.course.settings import Limits
from harness.judging.judge import judge
from tests.right import MANY

pytestmark = pytest.mark.slow

MANY_NEURONS = load_assignment("many-neurons")
LIMITS = Limits(call_seconds=1.0, submission_seconds=60.0)
HEAD = """
import os, sys, time
import torch
from torch.autograd import Function
from harness.many_neurons import check, train
"""
WEIGHTED_SUM, SIGMOID, SQUARED_ERROR = (f"\n{inspect.getsource(each)}" for each in MANY.values())
RIGHT = (HEAD, WEIGHTED_SUM, SIGMOID, SQUARED_ERROR)


def source(*parts):
    return Source((Cell("submission.py", "".join(parts)),), notebook=False)


def graded(zygote, *parts, limits=LIMITS):
    with RemoteCandidate(zygote, source(*parts), limits) as remote:
        report = judge(MANY_NEURONS, remote).report
        return report, remote.definition


def outcome(report, id):
    return next(check.outcome for check in report.checks if check.id == id)


def message(report, id):
    return next(check.message for check in report.checks if check.id == id)


def sigmoid_doing(statement):
    return SIGMOID.replace("(a,) = ctx.saved_tensors", f"{statement}; (a,) = ctx.saved_tensors")


def test_right_work_gets_full_marks_and_its_check_calls_do_nothing(zygote):
    report, definition = graded(zygote, *RIGHT, "\ncheck(Sigmoid).score\ntrain(1, 2, 3)\n")
    assert report.passed
    assert definition.failed == ()


def test_what_is_drawn_at_random_is_the_same_in_every_child(zygote):
    drawing = sigmoid_doing("raise ValueError(drawn)")
    head = "\nimport random, numpy\ndrawn = random.random(), numpy.random.rand(), torch.rand(1)\n"
    said = {
        message(graded(zygote, *RIGHT[:2], head, drawing)[0], "sigmoid/gradient/z")
        for _ in range(2)
    }
    assert len(said) == 1 and ": (0." in said.pop()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("os._exit(0)", "ended the process it ran in"),
        ("os.kill(os.getpid(), 9)", "PermissionError"),
        ("import ctypes; ctypes.string_at(0)", "crashed the process it ran in (SIGSEGV)"),
        ("exec('while True: pass')", "did not finish within 1 seconds of processor time"),
        ("time.sleep(100)", "(does it wait for something?)"),
        ("raise KeyboardInterrupt", "ended the process it ran in"),
        ("os.closerange(3, 100)", "ended the process it ran in"),
        ("os.write(3, b'x' * 99)", "wrote to the grader's own channel"),
        ("x = bytearray(2**40)", "MemoryError"),
        ("sys.exit(3)", "raised SystemExit"),
        ("input()", "raised EOFError"),
        ("g @ g", "g is (N, K)"),
        ("exit()", "line 31. The line is `exit(); (a,) = ctx.saved_tensors`. exit()"),
    ],
)  # fmt: skip
def test_a_backward_that_ends_badly_costs_its_stage_only(zygote, statement, said):
    report, _ = graded(zygote, HEAD, WEIGHTED_SUM, sigmoid_doing(statement), SQUARED_ERROR)
    assert outcome(report, "sigmoid/gradient/z") == "error"
    assert said in message(report, "sigmoid/gradient/z")
    wrong = {check.stage for check in report.checks if check.outcome in ("failed", "error")}
    assert wrong == {"Sigmoid"}
    assert outcome(report, "squared-error/gradient/a") == "passed"
    assert outcome(report, "chain/squared-error") == "passed"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("exit()", "raised SystemExit. exit(), quit()"),
        ("import helpers", "a file that was not handed in"),
        ("import helpers as h; h.slope(1)", "or a file that was not handed in."),
    ],
)
def test_a_top_level_statement_that_fails_is_explained(zygote, statement, said):
    with RemoteCandidate(zygote, source(*RIGHT, statement), LIMITS) as remote:
        assert said in advice_on(remote)[-1].text


@pytest.mark.parametrize("statement", ["os._exit(1)", "while True: pass", "sys.exit()", "1/0"])
def test_a_top_level_statement_that_ends_badly_hides_nothing_else(zygote, statement):
    report, definition = graded(zygote, HEAD, WEIGHTED_SUM, statement, "\n", SIGMOID, SQUARED_ERROR)
    assert report.passed
    assert len(definition.failed) == 1
    assert definition.failed[0].place.startswith("line ")


def test_many_killing_statements_end_the_definitions(zygote):
    report, definition = graded(zygote, *RIGHT, "\nos._exit(1)" * 5)
    assert report.passed
    assert len(definition.failed) == 3


def test_what_fails_before_a_class_is_named_with_the_class_that_is_missing(zygote):
    report, _ = graded(zygote, HEAD, WEIGHTED_SUM, SIGMOID.replace("Function", "Fn"), SQUARED_ERROR)
    assert "There is no class Sigmoid, because line" in message(report, "sigmoid/forward")
    assert "NameError" in message(report, "sigmoid/forward")


def test_what_only_a_notebook_has_is_skipped_without_a_word(zygote):
    cells = """
from harness.show import sensitivity_picture
from harness.training.tumours import split_tumours
values, labels, *_ = split_tumours()
picture = sensitivity_picture({"w": float(check(Sigmoid))})
mean = values.sum()
print(mean + 1)
"""
    report, definition = graded(zygote, *RIGHT, cells)
    assert report.passed
    assert definition.failed == ()


def test_output_by_the_megabyte_harms_nobody(zygote):
    noise = "print('x' * 10**6); sys.stderr.write('y' * 10**6)"
    report, _ = graded(zygote, HEAD, noise, "\n", WEIGHTED_SUM, sigmoid_doing(noise), SQUARED_ERROR)
    assert report.passed


def test_one_submission_leaves_nothing_for_the_next(zygote):
    spoil = "torch.set_default_dtype(torch.float16); torch.sigmoid = None; torch.exp = None\n"
    spoiled, _ = graded(zygote, HEAD, WEIGHTED_SUM, SIGMOID, SQUARED_ERROR, spoil)
    assert not spoiled.passed
    clean, _ = graded(zygote, *RIGHT)
    assert clean.passed


def test_the_judges_side_is_out_of_reach(zygote):
    """No reference, no probe and no point stands in the student's process."""
    spy = """
import harness.probes, harness.many_neurons
assert not [m for n, m in sys.modules.items() if n.startswith("harness") and m.__spec__.origin]
assert not [n for n in sys.modules if n.startswith("grading")]
assert type(harness.many_neurons.MANY_NEURONS).__name__ == "Inert"
"""
    _, definition = graded(zygote, HEAD, spy, *RIGHT[1:])
    assert definition.failed == ()


SLOW = "exec('t = time.process_time()\\nwhile time.process_time() < t + .4: pass')"


def test_a_stage_has_a_share_of_the_time_and_leaves_the_rest_to_the_others(zygote):
    slow = sigmoid_doing(SLOW)
    limits = Limits(call_seconds=1.0, submission_seconds=5.0)
    report, _ = graded(zygote, HEAD, WEIGHTED_SUM, slow, SQUARED_ERROR, limits=limits)
    assert "used 1 seconds of processor time, the most one part may" in message(
        report, "sigmoid/gradient/z"
    )
    wrong = {check.stage for check in report.checks if check.outcome in ("failed", "error")}
    assert wrong == {"Sigmoid"}


def test_top_level_code_has_its_share_of_the_time_too(zygote):
    limits = Limits(call_seconds=1.0, submission_seconds=5.0)
    report, definition = graded(zygote, "import time\n", f"{SLOW}\n" * 9, *RIGHT, limits=limits)
    assert report.passed
    assert "the most one part may" in definition.failed[0].text


def test_the_time_of_a_submission_is_capped_in_all(zygote):
    step = SLOW.replace(".4", ".1")
    slow = sigmoid_doing(f"{step} if len(g) == 16 else None")  # a batch of the training

    limits = Limits(call_seconds=5.0, submission_seconds=2.0)  # and more by the clock
    report, _ = graded(zygote, HEAD, WEIGHTED_SUM, slow, SQUARED_ERROR, limits=limits)
    assert "used up the submission's 2 seconds" in message(report, "training")


@pytest.mark.parametrize(
    "waits",
    ["time.sleep(1.5)\n" * 9, "while True: time.sleep(0.1)\n" * 4],
    ids=["nine", "for ever"],
)
def test_demonstrations_that_wait_hide_no_stage_and_are_stopped_by_the_clock(zygote, waits):
    limits = Limits(call_seconds=1.0)
    with RemoteCandidate(zygote, source("import time\n" + waits, *RIGHT), limits) as remote:
        assert not remote.definition.unusable
        assert remote.doubtful


def test_a_syntax_error_has_its_line_and_its_reason(zygote):
    with RemoteCandidate(zygote, source("x = 1\ndef f(:\n"), LIMITS) as remote:
        assert "SyntaxError at line 2" in remote.definition.unusable


@pytest.mark.parametrize("code", ["(" * 5000, "-" * 200_000 + "1", "x = " + "[" * 500])
def test_code_that_exhausts_the_parser_is_unusable_and_harms_nobody(zygote, code):
    with RemoteCandidate(zygote, source(code), LIMITS) as remote:
        assert remote.definition.unusable
    assert graded(zygote, *RIGHT)[0].passed


def test_a_cell_that_does_not_parse_hides_no_other_cell(zygote):
    cells = [HEAD, WEIGHTED_SUM, "this is not python", SIGMOID, SQUARED_ERROR]
    notebook = Source(
        tuple(Cell(f"<cell {n}>", text) for n, text in enumerate(cells, 1)), notebook=True
    )
    with RemoteCandidate(zygote, notebook, LIMITS) as remote:
        assert [failed.place for failed in remote.definition.failed] == ["cell 3, line 1"]
        assert judge(MANY_NEURONS, remote).report.passed


def test_what_parses_and_cannot_be_compiled_has_its_place_too(zygote):
    cells = ["x = 1\n\nawait x\n", *RIGHT]
    notebook = Source(
        tuple(Cell(f"<cell {n}>", text) for n, text in enumerate(cells, 1)), notebook=True
    )
    with RemoteCandidate(zygote, notebook, LIMITS) as remote:
        assert [failed.place for failed in remote.definition.failed] == ["cell 1, line 3"]


def test_a_child_leaves_no_process_behind(zygote):
    with RemoteCandidate(zygote, source(*RIGHT), LIMITS):
        pass  # what forks the children of a spawner's user stays
    before = descendants(os.getpid())
    with RemoteCandidate(zygote, source(*RIGHT), LIMITS):
        assert len(descendants(os.getpid())) == len(before) + 1
    assert descendants(os.getpid()) == before


def test_a_dead_zygote_is_the_graders_fault_not_the_students():
    with Zygote() as doomed:
        remote = RemoteCandidate(doomed, source(*RIGHT), LIMITS)
        os.kill(doomed.wait()._process.pid, 9)
        # The kernel takes its children along, in its own time.
        while descendants(doomed.wait()._process.pid):
            time.sleep(0.01)
        with pytest.raises(SpawnerError):
            remote.close()
        with pytest.raises(SpawnerError):
            RemoteCandidate(doomed, source(*RIGHT), LIMITS)


FORGE = read(FOLDER / "parts.toml")["tools"]["forge"]
ANOTHER_KIND = "sent an answer of another kind than was asked for"
MALFORMED = "sent a malformed answer"
NOT_ASKED_FOR = "sent an answer that nobody asked for"


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ("['Output', [None], False, ['', 0]]", ANOTHER_KIND),
        ("['Unchanged', [], [], True]", ANOTHER_KIND),
        ("['Unchanged', [], []]", MALFORMED),
        ("['Chained', {}, 0.0, None]", ANOTHER_KIND),
        ("['Lost', 'its process']", MALFORMED),
        ("['Returns', [], ['', 0]], first=99", NOT_ASKED_FOR),
        ("['Returns', [], ['', 0]], call=99", "answered another call"),
        ("None, type='defined', failed=[], unusable=''", NOT_ASKED_FOR),
        ("None, type='started', index=0, place=''", NOT_ASKED_FOR),
        ("None, type='nonsense'", "wrote to the grader's own channel"),
        ("['Returns', [[0, 0]], ['', 0]]", MALFORMED),
        ("['Returns', [[0, 0]], ['', 0]], stacks=[['float64', [9], 1, b'']]", MALFORMED),
        ("['Returns', [[0, 0]], ['', 0]], stacks=[['float64', [1], 1, bytes(8), [1]]]", MALFORMED),
        ("['Returns', [[0, 0]] * 2, ['', 0]], stacks=[['float64', [1], 1, bytes(8)]]", MALFORMED),
        (
            "['Returns', [[0, 0]]], stacks=[['float99', [1], 1, bytes(8)]]",
            "the grader's own channel",
        ),
        ("['Returns', [None] * 101, ['', 0]]", MALFORMED),
    ],
)
def test_a_forged_answer_costs_its_stage_and_never_the_grader(zygote, forged, said):
    sigmoid = sigmoid_doing(f"forge({forged})")
    report, _ = graded(zygote, HEAD, FORGE, WEIGHTED_SUM, sigmoid, SQUARED_ERROR)
    assert outcome(report, "sigmoid/gradient/z") == "error"
    assert said in message(report, "sigmoid/gradient/z")
    assert outcome(report, "squared-error/gradient/a") == "passed"
    wrong = {check.stage for check in report.checks if check.outcome in ("failed", "error")}
    assert wrong == {"Sigmoid"}


def test_a_death_in_the_training_is_told_with_the_steps_before_it(zygote):
    """Answers to quick steps wait for each other: a fresh child gives them again, one by one."""
    dying = "Sigmoid.steps += len(g) == 16; os._exit(0) if Sigmoid.steps > 2 * 50 else None"
    sigmoid = sigmoid_doing(dying) + "    steps = 0\n"
    report, _ = graded(zygote, HEAD, WEIGHTED_SUM, sigmoid, SQUARED_ERROR)
    assert "stopped after 50 of 180 steps: your code ended the process" in message(
        report, "training"
    )


def test_replies_before_a_death_count_though_they_were_kept_back(zygote):
    dying = "os._exit(0) if g.stride() == (0, 0) else None"
    report, _ = graded(zygote, HEAD, WEIGHTED_SUM, sigmoid_doing(dying), SQUARED_ERROR)
    assert "Sigmoid.backward ended the process it ran in" in message(report, "sigmoid/layout")
    assert outcome(report, "sigmoid/gradient/z") == "passed"
    assert outcome(report, "squared-error/gradient/a") == "passed"


@pytest.mark.proof
def test_a_slow_student_has_the_time_of_a_call_for_each_step(zygote):
    step = SLOW.replace(".4", ".006")
    slow = sigmoid_doing(f"{step} if len(g) == 16 else None")
    limits = Limits(call_seconds=1.0, submission_seconds=120.0)
    report, _ = graded(zygote, HEAD, WEIGHTED_SUM, slow, SQUARED_ERROR, limits=limits)
    assert report.passed


def test_lines_of_errors_are_the_students_own(zygote):
    text = textwrap.dedent(HEAD) + WEIGHTED_SUM + sigmoid_doing("None.oops") + SQUARED_ERROR
    report, _ = graded(zygote, text)
    line = text.split("\n").index("        None.oops; (a,) = ctx.saved_tensors") + 1
    said = message(report, "sigmoid/gradient/z")
    assert f"at line {line}" in said and "`None.oops;" in said


@pytest.mark.proof
def test_a_system_that_cannot_fork_has_fresh_processes():
    with FreshProcesses() as spawner:
        assert graded(spawner, *RIGHT)[0].passed
        report, _ = graded(spawner, HEAD, WEIGHTED_SUM, sigmoid_doing("os._exit(3)"), SQUARED_ERROR)
    assert "ended the process" in message(report, "sigmoid/gradient/z")
    assert outcome(report, "squared-error/gradient/a") == "passed"


def test_replies_that_are_kept_for_the_next_submission_are_never_altered(zygote, monkeypatch):
    kept: dict[tuple[str, tuple[int, ...], bytes], Tensor] = {}
    made = tensors._same

    def kept_too(dtype: tensors.Dtype, shape: tuple[int, ...], data: bytes) -> Tensor:
        kept[dtype, shape, data] = made(dtype, shape, data)
        return kept[dtype, shape, data]

    monkeypatch.setattr(tensors, "_same", kept_too)
    for change in ("pass", "g = g * 2", "g = g[:1]", "return g", "g.mul_(0)"):
        graded(zygote, HEAD, WEIGHTED_SUM, sigmoid_doing(change), SQUARED_ERROR)
    assert len(kept) > 200
    for (_, shape, data), value in kept.items():
        assert value.shape == shape and value.numpy().tobytes() == data
