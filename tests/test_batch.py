"""A batch goes on, whatever happens to one of its workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time

import pytest

from grading import batch
from grading.batch import Job, grade_entries, grade_entry
from grading.results import decode_result
from grading.submissions import Entry
from harness.settings import Settings
from tests.test_far import RIGHT

pytestmark = pytest.mark.slow

JOB = Job("many-neurons", Settings(), 0)


def entries(folder, *names):
    for name in names:
        (folder / f"{name}.py").write_text("".join(RIGHT))
    return [Entry(name, (str(folder / f"{name}.py"),)) for name in names]


def test_a_worker_that_is_killed_loses_no_submission(tmp_path):
    names = [f"s{n:02}" for n in range(12)]
    seen: list[object] = []

    def kill_a_worker():
        time.sleep(0.5)
        worker = multiprocessing.active_children()[0]
        seen.append(worker)
        worker.kill()

    results = []
    for result in grade_entries(entries(tmp_path, *names), JOB, workers=2):
        results.append(result)
        if len(results) == 1:
            threading.Thread(target=kill_a_worker).start()
    assert seen
    assert sorted(result.submission for result in results) == names
    assert {result.score for result in results} == {10.0}


def test_a_fault_of_the_grader_is_never_a_zero(tmp_path, monkeypatch):
    def broken(*_args):
        raise RuntimeError("the grader's own fault")

    monkeypatch.setattr(batch, "grade_submission", broken)
    result = decode_result(grade_entry(entries(tmp_path, "alice")[0], JOB))
    assert result.status == "grader_error"
    assert result.score is None
    assert "own fault" in result.staff
    assert result.reason and "own fault" not in result.reason


def test_a_nursery_that_dies_is_replaced(tmp_path):
    (entry,) = entries(tmp_path, "alice")
    assert decode_result(grade_entry(entry, JOB)).score == 10
    os.kill(batch._nursery()._process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    assert decode_result(grade_entry(entry, JOB)).score == 10
    batch._new_nursery()
