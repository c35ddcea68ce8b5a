"""Seeds are drawn where no student can know them, and stay as they are."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.workers.seeds import LARGEST, draw_seed, kept_seed
from harness.errors import UserError
from tests.home_replies import replaying

ROOT = Path(__file__).resolve().parent.parent
FIRST_USE = """
import sys
from pathlib import Path
from grading.workers.seeds import kept_seed
from harness.errors import UserError
print("ready", flush=True)
sys.stdin.read()
print(kept_seed(Path(sys.argv[1])))
"""


def backprop(course, *words):
    return subprocess.run(
        [sys.executable, "-m", "grading.cli", *map(str, words)],
        cwd=course,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )


def graded(course, out, *options):
    """The score of the one submission, and the seed that the run tells."""
    done = backprop(course, "grade", "in", "--assignment", "one-neuron", "--out", out, *options)
    assert done.returncode == 0, done.stderr
    (line,) = (course / out / "results.jsonl").read_text(encoding="utf-8").splitlines()
    run = json.loads((course / out / "run.json").read_text(encoding="utf-8"))
    return json.loads(line)["score"], run["seed"]


@pytest.mark.proof
def test_replies_recorded_at_home_earn_nothing_under_a_seed_that_nobody_knows(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "mallory.py").write_text(replaying(0), encoding="utf-8")
    assert graded(tmp_path, "known", "--seed", 0) == (10, 0)
    score, seed = graded(tmp_path, "out")
    assert score == 0
    assert seed > 2**20
    assert graded(tmp_path, "out", "--fresh") == (0, seed)


def test_a_seed_is_drawn_from_so_many_that_none_can_be_tried_through():
    drawn = {draw_seed() for _ in range(200)}
    assert len(drawn) == 200
    assert max(drawn) > 2**48
    assert all(0 <= seed <= LARGEST for seed in drawn)


@given(st.integers(0, LARGEST), st.integers(0, LARGEST))
def test_a_seed_is_kept_exactly_until_another_is_wanted(tmp_path_factory, first, second):
    path = tmp_path_factory.mktemp("seed") / "kept"
    assert kept_seed(path, first) == first == kept_seed(path)
    assert kept_seed(path, second) == second == kept_seed(path)
    assert json.loads(json.dumps(float(second))) == second


@pytest.mark.skipif(sys.platform == "win32", reason="other systems have modes")
def test_only_its_owner_can_read_a_seed(tmp_path):
    before = os.umask(0)
    try:
        kept_seed(tmp_path / "kept")
    finally:
        os.umask(before)
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="there nothing locks a file")
def test_processes_that_use_a_seed_first_at_the_same_moment_agree_on_it(tmp_path):
    command = [sys.executable, "-c", FIRST_USE, str(tmp_path / "kept")]
    starting = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(8)
    ]
    for process in starting:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in starting:
        assert process.stdin
        process.stdin.close()
    found = set()
    for process in starting:
        assert process.stdout
        found.add(int(process.stdout.read()))
        process.stdout.close()
        process.wait()
    assert found == {kept_seed(tmp_path / "kept")}


def test_a_kill_between_making_the_file_and_writing_it_costs_nothing(tmp_path):
    (tmp_path / "kept").touch()
    assert kept_seed(tmp_path / "kept") == kept_seed(tmp_path / "kept")


@pytest.mark.parametrize("data", [b"12", b"twelve\n", b"-1\n", b"9999999999999999\n", b"\xff\n"])
def test_a_damaged_seed_is_refused_and_kept_for_whoever_repairs_it(tmp_path, data):
    (tmp_path / "kept").write_bytes(data)
    for wanted in (None, 3):
        with pytest.raises(UserError, match="kept is damaged: it must hold one whole number"):
            kept_seed(tmp_path / "kept", wanted)
    assert (tmp_path / "kept").read_bytes() == data


@pytest.mark.parametrize("seed", ["-1", str(LARGEST + 1), "1.5"])
@pytest.mark.parametrize("command", [("grade", "in", "--assignment", "one-neuron"), ("verify",)])
def test_a_seed_that_json_would_change_is_refused(tmp_path, command, seed):
    out = ["--out", "out"] if command[0] == "grade" else []
    done = backprop(tmp_path, *command, *out, "--seed", seed)
    assert done.returncode == 2
    assert "Invalid value for '--seed'" in done.stderr
    assert re.search(rf"0<=x<={LARGEST}|is not a valid int", done.stderr)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="kill -9 is of other systems")
def test_a_kill_before_any_submission_is_graded_keeps_the_seed(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "alice.py").write_text("x = 1\n")
    command = [sys.executable, "-m", "grading.cli", "grade", "in"]
    with subprocess.Popen(
        [*command, "--assignment", "one-neuron", "--out", "out"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as running:
        kept = tmp_path / "out" / ".seed"
        while not (kept.exists() and kept.read_bytes()):
            assert running.poll() is None
            time.sleep(0.001)
        os.killpg(running.pid, signal.SIGKILL)
    assert not (tmp_path / "out" / "journal.jsonl").read_bytes()
    seed = kept_seed(kept)
    assert graded(tmp_path, "out")[1] == seed
