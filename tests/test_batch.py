"""A batch goes on, whatever happens to one of its workers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path

import pytest

from benchmarks.meter import descendants
from grading.confined.spawner import SpawnerError
from grading.results.lines import Result
from grading.sandbox.zygote import Zygote
from grading.submissions.reading import Entry
from grading.workers import batch, worker
from grading.workers.batch import grade_entries
from grading.workers.jobs import Job, decode_graded
from harness.course.settings import Limits, Settings
from tests.test_remote import HEAD, RIGHT, SQUARED_ERROR, WEIGHTED_SUM, sigmoid_doing

pytestmark = pytest.mark.slow

JOB = Job("many-neurons", Settings(), 0)


# What runs in this process's name, and has nothing to do with what is tested here.
OTHERS: set[int] = set()


@pytest.fixture(scope="module")
def zygote():
    """One that may be harmed, unlike that of the other tests."""
    OTHERS.update(descendants(os.getpid()))
    with Zygote() as running:
        yield running


def test_workers_see_no_gpu(monkeypatch):
    # For each GPU that it sees, autograd starts a thread, and no worker could use autograd.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with batch.executor(1) as workers:
        assert workers.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result() == ""


def entries(folder, *names, code=RIGHT):
    for name in names:
        (folder / f"{name}.py").write_text("".join(code))
    return [Entry(name, (str(folder / f"{name}.py"),)) for name in names]


def graded_while(folder, zygote, harm):
    """The results of 12 right submissions, with ``harm`` done after the first."""
    names = [f"s{n:02}" for n in range(12)]
    results: list[Result] = []
    for result in grade_entries(entries(folder, *names), JOB, 2, zygote):
        results.append(result)
        if len(results) == 1:
            harm()
    assert sorted(result.submission for result in results) == names
    return results


def test_a_worker_that_is_killed_loses_no_submission(tmp_path, zygote):
    def kill_a_worker():
        os.kill(workers()[0], signal.SIGKILL)

    results = graded_while(tmp_path, zygote, kill_a_worker)
    assert {result.score for result in results} == {10.0}


@pytest.mark.proof
def test_a_zygote_that_is_killed_loses_no_submission(tmp_path, zygote):
    def kill_the_zygote():
        os.kill(zygote.wait()._process.pid, signal.SIGKILL)

    results = graded_while(tmp_path, zygote, kill_the_zygote)
    assert {result.score for result in results} == {10.0}
    assert zygote.isolation in ("full", "partial")


def test_a_zygote_that_dies_as_it_is_restarted_can_be_restarted_again(zygote):
    level = zygote.isolation
    zygote.restart()
    started = zygote._warm._process
    # bubblewrap takes its child along once that has begun.
    while not any(is_python(pid) for pid in (started.pid, *descendants(started.pid))):
        time.sleep(0.01)
    started.kill()
    with pytest.raises(SpawnerError):
        zygote.wait()
    zygote.restart()
    assert zygote.isolation == level


def test_no_process_is_left_when_a_batch_is_given_up(tmp_path, zygote):
    loop = (HEAD, WEIGHTED_SUM, sigmoid_doing("exec('while True: pass')"), SQUARED_ERROR)
    (tmp_path / "right.py").write_text("".join(RIGHT))
    both = [*entries(tmp_path, "loop", code=loop), *entries(tmp_path, "right")]
    results = grade_entries(both, JOB, 2, zygote)
    assert next(results).submission == "right"
    assert workers()
    assert students()
    results.close()
    assert not workers()
    assert not students()
    zygote.restart()


@pytest.mark.proof
def test_a_child_that_only_waits_is_tried_again_alone(tmp_path, zygote):
    sleepy = (HEAD, WEIGHTED_SUM, sigmoid_doing("time.sleep(60)"), SQUARED_ERROR)
    job = Job("many-neurons", Settings(limits=Limits(call_seconds=0.5)), 0)
    both = [*entries(tmp_path, "sleepy", code=sleepy), *entries(tmp_path, "right")]
    order = [(result.submission, result.score) for result in grade_entries(both, job, 2, zygote)]
    assert order == [("right", 10.0), ("sleepy", 6.0)]


def test_a_fault_of_the_grader_is_never_a_zero(zygote, tmp_path, monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError("the grader's own fault")

    monkeypatch.setattr(worker, "grade_submission", broken)
    monkeypatch.setattr(worker._workplace, "spawner", lambda: zygote)
    result = decode_graded(
        worker.grade_entry(entries(tmp_path, "alice")[0], JOB, second=False)
    ).result
    assert result.status == "grader_error"
    assert result.score is None
    assert "own fault" in result.staff
    assert result.reason and "own fault" not in result.reason


def test_the_main_process_of_a_batch_needs_no_torch():
    imports = "import sys; import grading.workers.batch, grading.runs.run"
    code = f"{imports}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


class AtOnce(Executor):
    """Calls when it is asked to."""

    def submit(self, fn, /, *args, **kwargs):
        future: Future[bytes] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def test_few_submissions_of_a_large_class_wait_at_a_time():
    asked = []

    def call(number):
        asked.append(number)
        return partial(bytes, number)

    done = set()
    for future in batch._as_completed(AtOnce(), map(call, range(1000)), 8):
        done.add(len(future.result()))
        assert len(asked) <= len(done) + 8
    assert done == {*range(1000)}


def workers():
    """The process ids of this process's workers: of the forks of the one they come from."""
    return [pid for pid in descendants(os.getpid()) if "multiprocessing" in command(parent(pid))]


def students():
    """The process ids of what the warm process's supervisors have started."""
    here = set(descendants(os.getpid())) - OTHERS
    forks = [pid for pid in here if "grading.confined" in command(pid)]
    return [pid for pid in forks if parent(parent(pid)) in forks]


def parent(pid):
    return int((entry(pid, "stat") or "(gone) Z 0").rpartition(")")[2].split()[1])


def is_python(pid):
    return Path(command(pid).partition("\0")[0]).name.startswith("python")


def command(pid):
    return entry(pid, "cmdline")


def entry(pid, name):
    """What ``/proc`` says of a process: nothing once it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/{name}").read_text()
    return ""
