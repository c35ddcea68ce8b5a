"""A process that something outside ends costs no marks, unless it happens again, alone."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.meter import descendants
from grading.confined import wire
from grading.confined.spawner import Spawner
from grading.confined.wire import Define, Perform
from grading.parsing.source import read_source
from grading.sandbox.remote import RemoteCandidate
from grading.selfcheck.check import check_work
from grading.selfcheck.work import Work
from grading.submissions.reading import Submission
from grading.workers.grader import KILLED, grade_alone, grade_submission
from harness.candidate.operations import Forward
from harness.course.settings import Limits, Settings
from harness.probes import plan
from tests.test_remote import (
    HEAD,
    MANY_NEURONS,
    RIGHT,
    SQUARED_ERROR,
    WEIGHTED_SUM,
    sigmoid_doing,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux only"),
]
RIGHT_SOURCE = read_source("a.py", "".join(RIGHT).encode())
RIGHT_WORK = Submission("alice", "", source=RIGHT_SOURCE)


class Killing(Spawner):
    """The spawner of a zygote whose children are killed from outside before a request.

    ``times`` children are, when they are to define classes or to run a stage's backward.
    """

    def __init__(self, zygote, when, times, number=signal.SIGKILL):
        self._zygote, self._when = zygote, when
        self.left, self._number = times, number

    def close(self):
        pass

    def child(self, memory_mib, cpu_seconds, modules=()):
        before = set(descendants(os.getpid()))
        child = self._zygote.child(memory_mib, cpu_seconds, modules)
        while not (born := set(descendants(os.getpid())) - before):
            pass
        send = child.channel.send

        def kill_and_send(payload, timeout=None):
            if self.left and self._when(wire.decode_request(payload)):
                self.left -= 1
                for pid in born:
                    os.kill(pid, self._number)
            send(payload, timeout)

        child.channel.send = kill_and_send
        return child


def defining(request):
    return isinstance(request, Define)


def running(stage):
    def when(request):
        operations = wire.operations_of(request) if isinstance(request, Perform) else []
        return any(isinstance(each, Forward) and each.stage == stage for each in operations)

    return when


@pytest.fixture
def line(zygote):
    """A zygote whose supervisor has been started, so that every new process is a child."""
    with RemoteCandidate(zygote, RIGHT_SOURCE, Limits()):
        return zygote


@pytest.mark.parametrize("when", [defining, running("Sigmoid")])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_one_kill_from_outside_leaves_no_trace(line, when, number):
    spawner = Killing(line, when, 1, number)
    result = grade_alone(RIGHT_WORK, MANY_NEURONS, Settings(), 0, spawner)
    assert spawner.left == 0
    assert (result.score, result.flags) == (10.0, [])


def test_a_second_kill_costs_its_stage_and_is_told_honestly(line):
    spawner = Killing(line, running("Sigmoid"), 2)
    result = grade_alone(RIGHT_WORK, MANY_NEURONS, Settings(), 0, spawner)
    assert spawner.left == 0
    assert [(flag.kind, flag.stage) for flag in result.flags] == [(KILLED, "Sigmoid")]
    assert "SIGKILL" in result.flags[0].evidence
    wrong = {check.stage for check in result.checks if check.outcome in ("failed", "error")}
    assert wrong == {"Sigmoid"}
    (said,) = {check.message for check in result.checks if check.id == "sigmoid/forward"}
    assert "most likely for lack of memory" in said and "in a second try too, alone" in said


def test_work_that_is_killed_as_it_is_read_twice_has_a_flag_too(line):
    spawner = Killing(line, defining, 2)
    result = grade_alone(RIGHT_WORK, MANY_NEURONS, Settings(), 0, spawner)
    assert result.status == "unreadable" and "was killed by the system" in str(result.reason)
    assert [(flag.kind, flag.stage) for flag in result.flags] == [(KILLED, None)]


def test_a_second_try_is_final(line):
    spawner = Killing(line, running("Sigmoid"), 1)
    graded = grade_submission(RIGHT_WORK, MANY_NEURONS, Settings(), 0, spawner, second=True)
    assert not graded.again and graded.result.flags


def test_a_students_own_check_is_made_again_too(line):
    work = Work(Path("a.py"), RIGHT_SOURCE, "many-neurons", Settings())
    only = {check.id for check in plan(MANY_NEURONS, Settings()) if check.stage == "Sigmoid"}
    spawner = Killing(line, running("Sigmoid"), 1)
    assert check_work(work, only, spawner).report.passed
    assert spawner.left == 0


@pytest.mark.parametrize("statement", ["os._exit(0)", "import ctypes; ctypes.string_at(0)"])
def test_a_death_of_its_own_making_is_not_tried_again(zygote, statement):
    code = "".join((HEAD, WEIGHTED_SUM, sigmoid_doing(statement), SQUARED_ERROR))
    work = Submission("alice", "", source=read_source("a.py", code.encode()))
    graded = grade_submission(work, MANY_NEURONS, Settings(), 0, zygote)
    assert not graded.again and graded.result.flags == []


def test_the_kernel_ends_students_processes_first(line):
    before = set(descendants(os.getpid()))
    with RemoteCandidate(line, RIGHT_SOURCE, Limits()):
        (child,) = set(descendants(os.getpid())) - before
        assert Path(f"/proc/{child}/oom_score_adj").read_text() == "1000\n"


BURSTS = """
import time
while True:
    until = time.process_time() + 0.01
    while time.process_time() < until:
        pass
    time.sleep(0.3)
"""


@pytest.mark.proof
def test_who_computes_a_little_now_and_then_is_ended_by_the_clock(zygote):
    source = read_source("a.py", (BURSTS * 9).encode())
    limits = Limits(call_seconds=0.3, submission_seconds=1.5)
    with RemoteCandidate(zygote, source, limits) as remote:
        assert remote.doubtful
    with RemoteCandidate(zygote, source, limits, second=True) as remote:
        assert not remote.doubtful
        # On a busy machine bursts can look like waiting, which ends them earlier.
        stopped = {statement.kind for statement in remote.definition.failed}
        assert remote.definition.unusable or stopped == {"stopped"}
