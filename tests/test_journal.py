"""The journal: what it has taken in is there again, whatever happens to the process or the file."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.results.lines import Result, Seconds
from grading.results.record import LazyResults
from grading.runs.journal import FILE, Journal, Keys, only_run_in
from grading.workers.jobs import Job
from harness.course.settings import Limits, Settings
from harness.errors import UserError

ROOT = Path(__file__).resolve().parent.parent


def result(name, score: float | None = 1.0, reason=None):
    return Result(
        submission=name,
        assignment="many-neurons",
        status="grader_error" if score is None else "graded",
        reason=reason,
        score=score,
        max_score=10.0,
        digest="d",
        seconds=Seconds(0.1, 0.1),
    )


names = st.text("abä\n\x00'\"", min_size=1, max_size=3)
results = st.builds(
    result, names, st.none() | st.floats(0, 10), st.none() | st.text("x\n\r}\u2028", max_size=4)
)


def written(path, each_result):
    """The lines that the results make, in order."""
    lines = []
    with closing(Journal(path)) as journal:
        for each in each_result:
            before = path.read_bytes()
            journal.append("k", "full", each)
            lines.append(path.read_bytes()[len(before) :])
    return lines


def read_back(path):
    with closing(Journal(path)) as journal:
        return {name: journal.read(name) for name in list(journal._places)}


def latest(found):
    return {each.submission: each for each in found}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("journal") / FILE


@given(st.lists(results, max_size=8), st.data())
def test_a_cut_at_any_byte_costs_the_lines_after_it_and_no_other(path, each_result, data):
    path.unlink(missing_ok=True)
    lines = written(path, each_result)
    cut = data.draw(st.integers(0, sum(map(len, lines))))
    path.write_bytes(b"".join(lines)[:cut])
    whole = [sum(map(len, lines[: n + 1])) <= cut for n in range(len(lines))]
    expected = latest(each for each, kept in zip(each_result, whole, strict=True) if kept)
    assert read_back(path) == expected
    assert path.read_bytes().count(b"\n") == len(expected)


@given(st.lists(results, max_size=6), st.data())
def test_damage_costs_only_the_lines_it_touches(path, each_result, data):
    path.unlink(missing_ok=True)
    known = dict(zip(written(path, each_result), each_result, strict=True))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        at = data.draw(st.integers(0, len(content)))
        # White space outside of the result changes nothing.
        harmful = st.binary(max_size=4).filter(lambda each: each.strip() or not each)
        junk = data.draw(harmful | st.sampled_from([b"{}\n", b"[" * 3000 + b"\n"]))
        content[at : at + data.draw(st.integers(0, 2))] = junk
    path.write_bytes(content)
    lines = [each + b"\n" for each in bytes(content).split(b"\n")[:-1]]
    assert read_back(path) == latest(known[line] for line in lines if line in known)
    again = path.read_bytes()
    read_back(path)
    assert path.read_bytes() == again


def test_damage_to_the_chosen_file_costs_the_line(path):
    path.unlink(missing_ok=True)
    with closing(Journal(path)) as journal:
        journal.append("k", "full", result("alice"), "one.py")
    path.write_bytes(path.read_bytes().replace(b"one.py", b"two.py"))
    assert read_back(path) == {}


@pytest.mark.slow
@given(st.lists(results, min_size=1, max_size=8), st.sets(names))
def test_what_is_forgotten_is_gone_and_the_rest_stays(path, each_result, gone):
    path.unlink(missing_ok=True)
    written(path, each_result)
    expected = {name: each for name, each in latest(each_result).items() if name not in gone}
    with closing(Journal(path)) as journal:
        journal.forget(gone)
        journal.append("k", "full", result("new"))
    assert read_back(path) == expected | {"new": result("new")}
    with closing(Journal(path)) as journal:
        journal.keep_only({"new"})
    assert read_back(path) == {"new": result("new")}


def test_the_file_does_not_grow_with_the_runs(tmp_path):
    path = tmp_path / FILE
    for _ in range(5):
        written(path, [result("alice"), result("bob")])
    assert path.read_bytes().count(b"\n") == 4
    assert read_back(path).keys() == {"alice", "bob"}
    assert path.read_bytes().count(b"\n") == 2


def test_a_score_altered_on_disk_is_not_believed(tmp_path):
    path = tmp_path / FILE
    written(path, [result("alice", 1.0), result("bob", 2.0)])
    path.write_bytes(path.read_bytes().replace(b'"score":1.0', b'"score":9.0'))
    assert read_back(path).keys() == {"bob"}


def test_results_are_read_in_the_order_of_their_names(tmp_path):
    with closing(Journal(tmp_path / FILE)) as journal:
        for name in "cab":
            journal.append("k", "full", result(name))
        kept = LazyResults(["c", "a"], journal.read)
        assert [each.submission for each in kept] == ["a", "c"]
        assert len(kept) == 2 and result("a") in kept and result("b") not in kept


def test_the_key_covers_all_that_a_mark_rests_on():
    job = Job("many-neurons", Settings(), 0)
    versions = {"torch": "2.4"}
    limits = Settings(limits=Limits(call_seconds=9.0))
    keys = [
        Keys(job, versions).key("alice", "d"),
        Keys(job, versions).key("bob", "d"),
        Keys(job, versions).key("alice", "e"),
        Keys(job, {"torch": "2.5"}).key("alice", "d"),
        Keys(msgspec.structs.replace(job, seed=1), versions).key("alice", "d"),
        Keys(msgspec.structs.replace(job, assignment="one-neuron"), versions).key("alice", "d"),
        Keys(msgspec.structs.replace(job, settings=limits), versions).key("alice", "d"),
        Keys(
            msgspec.structs.replace(job, settings=replace(limits, points={"training": 1.0})),
            versions,
        ).key("alice", "d"),
    ]
    assert len(set(keys)) == len(keys)
    assert Keys(job, dict(versions)).key("alice", "d") == keys[0]


KEY = """
from grading.workers.jobs import Job
from grading.runs.journal import Keys
from harness.course.settings import Settings
print(Keys(Job("many-neurons", Settings(), 0), {}).key("alice", "d"))
"""


def test_the_key_covers_the_source_of_what_judges(tmp_path):
    for package in ("grading", "harness"):
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__")
        )

    def key():
        done = subprocess.run(
            [sys.executable, "-B", "-c", KEY],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    keys = [key(), key()]
    assert keys[0] == keys[1]
    changes = ("harness/cases/compare.py", "grading/sandbox/remote.py")
    data = ("harness/mistakes/sigmoid.toml", "harness/training/data/digits.npz")
    for changed in (*changes, *data):
        with (tmp_path / changed).open("a") as file:
            file.write("# another tolerance\n")
        keys.append(key())
    (tmp_path / "harness" / "new.py").touch()
    assert len({*keys, key()}) == 6


SITTER = """
import sys, time
from pathlib import Path
from grading.runs.journal import only_run_in
with only_run_in(Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(60)
"""


def test_two_runs_are_not_in_one_folder_and_a_killed_one_is_out(tmp_path):
    command = [sys.executable, "-c", SITTER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"in\n"
        with pytest.raises(UserError), only_run_in(tmp_path):
            pass
        other.kill()
        other.wait()
        with only_run_in(tmp_path):
            pass


WRITER = """
import sys
from itertools import count
from pathlib import Path
from grading.runs.journal import Journal
from harness.errors import UserError
from tests.test_journal import result
path = Path(sys.argv[1])
for turn in count():
    with closing(Journal(path)) as journal:
        for n in range(20):
            journal.append("k", "full", result(f"s{n}", float(turn)))
            print(turn * 20 + n, flush=True)
        journal.keep_only({f"s{n}" for n in range(15)})
        print(turn * 20 + 20, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_kill_at_any_moment_loses_nothing_that_was_taken_in(tmp_path, seed):
    path = tmp_path / FILE
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(random.Random(seed).uniform(0, 0.3))
        os.kill(writer.pid, signal.SIGKILL)
        said = [int(line) for line in writer.stdout.read().splitlines()[:-1]]
    turn, n = divmod(said[-1] if said else 0, 20)
    found = read_back(path)
    for number in range(15):
        score = found[f"s{number}"].score if f"s{number}" in found else None
        # Each was taken in during this turn, or during the one before.
        least = turn if number < n else turn - 1
        assert least < 0 or (score is not None and score >= least)
