"""The processes that help a run: none of them holds it up, and nothing of them stays behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from grading.sandbox import can_fork, temporary
from grading.workers import helpers
from tests.test_remote import RIGHT
from tests.test_resume import all_gone, journalled, left_behind, start, submit
from tests.users import needs

pytestmark = pytest.mark.skipif(not can_fork(), reason="only Linux runs have these processes")


def workers(running, named=b"multiprocessing.forkserver"):
    """The processes of a run that are forked, with the one that they are forked from."""
    found = []
    for pid in left_behind(running.pid):
        try:
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if named in line:
            found.append(int(pid))
    return found


@pytest.fixture
def running(tmp_path):
    """A run of two workers that has one of its marks."""
    submit(tmp_path / "in", **{f"s{number:02}": "".join(RIGHT) for number in range(6)})
    with start(tmp_path) as process:
        while process.poll() is None and not journalled(tmp_path):
            time.sleep(0.01)
        yield process
        for pid in workers(process):
            os.kill(pid, signal.SIGKILL)
        process.kill()


def interrupt(process, times=1):
    """Press Ctrl-C, which reaches every process of the terminal."""
    for _ in range(times):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named", "library", "scheduler"),
    [
        (b"multiprocessing.forkserver", b"libtorch", ()),
        (b"spawn_main", b"", ("--scheduler", "local:1")),
    ],
)
def test_ctrl_c_while_helpers_are_starting_shows_nothing_of_them(
    tmp_path, named, library, scheduler
):
    def loading(pid):
        with contextlib.suppress(OSError):
            return library in Path(f"/proc/{pid}/maps").read_bytes()

    submit(tmp_path / "in", ada="", ben="")
    with start(tmp_path, *scheduler) as process:
        while process.poll() is None and not any(map(loading, workers(process, named))):
            time.sleep(0.01)
        interrupt(process)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT
    assert "Stopped with 0 of 2 graded" in said and "Traceback" not in said, said


@pytest.mark.slow
def test_more_of_it_ends_a_run_at_once_and_says_so(tmp_path):
    submit(tmp_path / "in", ada="", ben="")
    with start(tmp_path) as process:
        while process.poll() is None and not workers(process):
            time.sleep(0.01)
        interrupt(process, times=3)
        _, said = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT
    assert "Stopped at once" in said and "Traceback" not in said, said


@pytest.mark.proof
def test_helpers_that_are_stopped_do_not_hold_a_run(running):
    for pid in workers(running):
        os.kill(pid, signal.SIGSTOP)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 0 and "Traceback" not in said, said


@pytest.mark.proof
def test_helpers_that_are_stopped_do_not_hold_a_run_that_is_interrupted(running):
    helping = workers(running)
    assert len(helping) == 3
    for pid in helping:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    os.kill(running.pid, signal.SIGINT)
    _, said = running.communicate(timeout=300)
    assert running.returncode == 128 + signal.SIGINT, said
    # Two minutes went by once; the rest is for a busy machine.
    assert time.monotonic() - began < 60
    assert all_gone(running.pid)


def test_a_worker_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(helpers, "GRACE_SECONDS", 0.1)
    from multiprocessing import get_context

    process = get_context("spawn").Process(target=time.sleep, args=(1000,))
    process.start()
    with helpers.in_time([process]):
        process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.proof
@pytest.mark.parametrize("level", ["full", "partial"])
def test_a_killed_run_leaves_no_folder_behind_the_next(tmp_path, monkeypatch, level):
    """Not even where the process that would clean up after it was killed too."""
    if level == "full":
        needs("bwrap")
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    submit(tmp_path / "in", **{f"s{number:02}": "".join(RIGHT) for number in range(3)})
    somebodys = folder / f"{temporary.PREFIX}mine"
    somebodys.mkdir()
    with start(tmp_path, "--isolation", level) as running:
        while running.poll() is None and not journalled(tmp_path):
            time.sleep(0.01)
        for pid in [running.pid, *helpers._descendants(running.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.communicate()
    assert len(list(folder.iterdir())) > 1
    with start(tmp_path) as running:
        running.communicate(timeout=300)
    assert list(folder.iterdir()) == [somebodys]


@pytest.mark.proof
def test_temporary_files_that_go_away_end_a_run_without_a_traceback(tmp_path, monkeypatch):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    submit(tmp_path / "in", **{f"s{number:02}": "".join(RIGHT) for number in range(3)})
    with start(tmp_path) as running:
        while running.poll() is None and not journalled(tmp_path):
            time.sleep(0.01)
        shutil.rmtree(folder)
        _, said = running.communicate(timeout=300)
    assert "Traceback" not in said, said
    assert len((tmp_path / "out" / "results.jsonl").read_text().splitlines()) == 3


def test_a_run_that_lives_keeps_its_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    temporary.room.cache_clear()
    try:
        mine = temporary.room()
        temporary._remove_dead()
        assert mine.is_dir() and mine.parent == tmp_path
    finally:
        temporary.room.cache_clear()


@pytest.mark.slow
def test_a_long_name_of_the_temporary_folder_does_no_harm(tmp_path, monkeypatch):
    temporary = tmp_path / ("x" * 120) / ("y" * 120)
    temporary.mkdir(parents=True)
    monkeypatch.setenv("TMPDIR", str(temporary))
    submit(tmp_path / "in", alice="".join(RIGHT))
    with start(tmp_path) as running:
        _, said = running.communicate(timeout=300)
    assert running.returncode == 0 and "Traceback" not in said, said
    assert not list(temporary.iterdir())
