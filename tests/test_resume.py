"""A second run goes on where the first one stopped, however that came about."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from grading.results.lines import Result, Seconds
from grading.runs import run
from grading.runs.journal import FILE, only_run_in
from grading.runs.output import SEED
from grading.runs.run import Options, grade_folder, preview_folder
from grading.runs.signals import Stopped, stoppable, unstoppable
from grading.sandbox import Isolation
from grading.submissions.reading import digest_of
from grading.workers.jobs import Graded
from grading.workers.seeds import kept_seed
from harness.errors import UserError
from tests.test_remote import RIGHT

pytestmark = pytest.mark.slow

MANY = "many-neurons"
ROOT = str(Path(__file__).resolve().parent.parent)


def submit(folder, **texts):
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)


@pytest.fixture(autouse=True)
def heard():
    """Signals are not ignored, as what runs in a shell's background or under nohup ignores some."""
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ignored = [each for each in stops if signal.getsignal(each) is signal.SIG_IGN]
    for each in ignored:
        plain = signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL
        signal.signal(each, plain)
    yield
    for each in ignored:
        signal.signal(each, signal.SIG_IGN)


class FakeGrader:
    """Stands for the workers: a mark is the length of the file; what it says happens happens."""

    def __init__(self):
        self.graded: list[str] = []
        self.fails: set[str] = set()
        self.then = lambda _name: None
        self.isolation: Isolation = "minimal"

    def __call__(self, _machines, entries, job):
        for entry in entries:
            self.graded.append(entry.name)
            self.then(entry.name)
            yield Graded(self.result(entry, job), again=False, isolation=self.isolation)

    def result(self, entry, job):
        failed = entry.name in self.fails
        return Result(
            submission=entry.name,
            assignment=job.assignment,
            status="grader_error" if failed else "graded",
            score=None if failed else float(len(Path(entry.paths[0]).read_bytes())),
            max_score=10.0,
            digest="" if failed else digest_of(entry, job.assignment),
            seconds=Seconds(0.0, 0.0),
        )


def in_place(monkeypatch, fake):
    """Has runs grade with ``fake``, behind no wall."""
    monkeypatch.setattr(run, "graded_by", fake)
    monkeypatch.setattr(run, "open_zygote", lambda *_wish: nullcontext(None))
    return fake


@pytest.fixture
def grader(monkeypatch):
    return in_place(monkeypatch, FakeGrader())


@pytest.fixture
def course(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    submit(tmp_path / "in", alice="1", bob="22", carol="333")
    return tmp_path


def grade(grader, **wish):
    """The names that a run grades, and whether it is complete."""
    grader.graded = []
    complete = grade_folder(Path("in"), MANY, Path("out"), Options(**wish))
    return sorted(grader.graded), complete


def published():
    lines = Path("out/results.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["submission"]: line["score"] for line in map(json.loads, lines)}


class TestWhatIsGradedAgain:
    def test_nothing_that_is_finished(self, course, grader, capsys):
        assert grade(grader) == (["alice", "bob", "carol"], True)
        before = Path("out/results.jsonl").read_bytes()
        assert grade(grader) == ([], True)
        assert Path("out/results.jsonl").read_bytes() == before
        assert "0 graded, 3 unchanged since" in capsys.readouterr().out

    def test_what_has_changed_or_is_new(self, course, grader):
        grade(grader)
        submit(course / "in", bob="4444", dora="55555")
        assert grade(grader) == (["bob", "dora"], True)
        assert published() == {"alice": 1, "bob": 4, "carol": 3, "dora": 5}

    def test_what_has_changed_while_others_were_graded(self, course, grader):
        def change(name):
            if name == "alice":
                submit(course / "in", carol="4444")

        grader.then = change
        grade(grader)
        assert published()["carol"] == 4
        assert grade(grader) == ([], True)

    def test_what_has_changed_right_after_it_was_graded(self, course, grader):
        def change(name):
            if name == "bob":
                submit(course / "in", alice="4444")

        grader.then = change
        grade(grader)
        assert grade(grader) == (["alice"], True)

    def test_everything_under_another_seed_or_other_settings(self, course, grader):
        grade(grader)
        assert grade(grader, seed=1)[0] == ["alice", "bob", "carol"]
        assert grade(grader, seed=1)[0] == []
        folder = course / "solutions" / MANY
        folder.mkdir(parents=True)
        (folder / "assignment.toml").write_text(f'assignment = "{MANY}"\nfeedback = "where"\n')
        assert grade(grader, seed=1)[0] == ["alice", "bob", "carol"]

    def test_a_fault_of_the_grader(self, course, grader):
        grader.fails = {"bob"}
        assert grade(grader) == (["alice", "bob", "carol"], False)
        assert published()["bob"] is None
        assert grade(grader, only=["alice"]) == ([], True)
        assert published()["bob"] is None
        grader.fails = set()
        assert grade(grader) == (["bob"], True)
        assert published()["bob"] == 2

    def test_what_a_damaged_line_was_about(self, course, grader):
        grade(grader)
        lines = (course / "out" / FILE).read_bytes().splitlines(keepends=True)
        (course / "out" / FILE).write_bytes(lines[0] + lines[1][:50] + b"\n" + lines[2][:-9])
        assert grade(grader) == (["bob", "carol"], True)

    def test_everything_when_asked_for(self, course, grader):
        grade(grader)
        assert grade(grader, fresh=True)[0] == ["alice", "bob", "carol"]


def seed_told():
    return json.loads(Path("out/run.json").read_text(encoding="utf-8"))["seed"]


class TestSeed:
    def test_a_new_folder_draws_one_and_goes_on_with_it(self, course, grader):
        grade(grader)
        seed = seed_told()
        assert seed > 2**20
        for wish in ({}, {"fresh": True}, {"only": ["bob"], "fresh": True}):
            grade(grader, **wish)
            assert seed_told() == seed
        assert grade(grader, seed=seed) == ([], True)

    def test_folders_have_different_ones(self, course, grader):
        seeds = []
        for out in ("out", "other"):
            grade_folder(Path("in"), MANY, Path(out), Options())
            seeds.append(json.loads(Path(out, "run.json").read_text(encoding="utf-8"))["seed"])
        assert seeds[0] != seeds[1]

    def test_it_is_on_disk_before_the_first_submission_is_judged(self, course, grader):
        seen = []
        grader.then = lambda _name: seen.append(kept_seed(Path("out", SEED)))
        grade(grader)
        assert set(seen) == {seed_told()} and len(seen) == 3

    def test_one_that_is_asked_for_stays_until_another_is(self, course, grader):
        grade(grader, seed=7)
        assert grade(grader) == ([], True)
        assert seed_told() == 7
        grade(grader, seed=8)
        assert grade(grader) == ([], True)
        assert seed_told() == 8

    def test_a_preview_draws_none_for_published_results(self, course, grader):
        grade(grader, seed=7)
        assert preview_folder(Path("in"), MANY, Path("out"), Options()) == (True, False)
        preview_folder(Path("in"), MANY, Path("out"), Options(seed=8))
        assert grade(grader)[1] and seed_told() == 7

    def test_a_preview_of_a_new_folder_keeps_it_for_the_run_that_publishes(self, course, grader):
        preview_folder(Path("in"), MANY, Path("out"), Options())
        assert grade(grader) == ([], True)

    def test_results_without_one_of_their_own_go_on_with_the_one_they_tell(self, course, grader):
        grade(grader, seed=7)
        Path("out", SEED).unlink()
        assert grade(grader) == ([], True)
        assert seed_told() == 7

    def test_results_of_the_public_seed_get_a_new_one_and_say_so(self, course, grader, capsys):
        grade(grader, seed=0)
        Path("out", SEED).unlink()
        capsys.readouterr()
        assert grade(grader)[0] == ["alice", "bob", "carol"]
        said = " ".join(capsys.readouterr().out.split())
        assert "was graded with seed 0, which is public" in said and "--seed 0 keeps" in said
        assert seed_told() > 2**20
        assert grade(grader) == ([], True)
        assert "public" not in capsys.readouterr().out

    def test_the_public_seed_stays_where_it_is_asked_for(self, course, grader, capsys):
        grade(grader, seed=0)
        assert grade(grader) == ([], True)
        assert seed_told() == 0 and "public" not in capsys.readouterr().out

    def test_a_damaged_one_is_told_before_anything_is_graded(self, course, grader):
        grade(grader)
        Path("out", SEED).write_text("seven")
        with pytest.raises(UserError, match="seed is damaged: it must hold one whole number"):
            grade(grader)
        assert not grader.graded


class TestPublished:
    def test_what_is_removed_leaves_the_results(self, course, grader):
        grade(grader)
        (course / "in" / "bob.py").unlink()
        assert grade(grader) == ([], True)
        assert published() == {"alice": 1, "carol": 3}
        assert b"bob" not in (course / "out" / FILE).read_bytes()
        table = (course / "out" / "grades.csv").read_text(encoding="utf-8").splitlines()
        assert [row["submission"] for row in csv.DictReader(table)] == ["alice", "carol"]

    def test_only_keeps_the_results_of_others(self, course, grader, capsys):
        assert grade(grader, only=["bob"])[0] == ["bob"]
        assert "2 submissions not graded yet" in capsys.readouterr().out
        assert published() == {"bob": 2}
        assert grade(grader, only=["alice", "bob"])[0] == ["alice"]
        assert grade(grader, only=["bob"], fresh=True)[0] == ["bob"]
        assert published() == {"alice": 1, "bob": 2}

    def test_results_under_other_settings_are_left_out_and_not_forgotten(self, course, grader):
        grade(grader, seed=0)
        grade(grader, only=["bob"], seed=1)
        assert published() == {"bob": 2}
        assert grade(grader, seed=0) == (["bob"], True)
        assert published() == {"alice": 1, "bob": 2, "carol": 3}

    def test_the_weakest_isolation_is_told(self, course, grader, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(grader, "isolation", "full")
            grade(grader, only=["alice"])
            assert json.loads(Path("out/run.json").read_text())["isolation"] == "full"
        grade(grader)
        assert json.loads(Path("out/run.json").read_text())["isolation"] == "minimal"

    def test_files_are_replaced_and_never_half_written(self, course, grader, monkeypatch):
        grade(grader)
        before = published()
        submit(course / "in", alice="4444")

        def full_disk(*_args):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("grading.results.lines.os.fsync", full_disk)
        with pytest.raises(UserError, match="cannot be written: No space left"):
            grade(grader)
        assert published() == before


class TestStopping:
    def test_a_stop_tells_how_far_it_came_and_the_next_run_goes_on(self, course, grader):
        def stop(name):
            if name == "carol":
                os.kill(os.getpid(), signal.SIGTERM)

        grader.then = stop
        with pytest.raises(Stopped) as stopped:
            grade(grader)
        assert stopped.value.said == (
            "Stopped with 2 of 3 graded; the same command resumes from there."
        )
        assert stopped.value.exit_code == 143
        grader.then = lambda _name: None
        assert grade(grader) == (["carol"], True)

    def test_a_stopped_fresh_run_does_not_start_from_the_beginning(self, course, grader):
        grade(grader)

        def stop(name):
            if name == "bob":
                os.kill(os.getpid(), signal.SIGINT)

        grader.then = stop
        with pytest.raises(Stopped) as stopped:
            grade(grader, fresh=True)
        assert "1 of 3 graded; the same command without --fresh" in stopped.value.said
        grader.then = lambda _name: None
        assert grade(grader) == (["bob", "carol"], True)

    def test_signals_that_are_ignored_stay_ignored(self):
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            with stoppable():
                os.kill(os.getpid(), signal.SIGHUP)
        finally:
            signal.signal(signal.SIGHUP, before)

    def test_a_short_block_ends_before_it_is_stopped_and_the_handlers_come_back(self):
        before = signal.getsignal(signal.SIGTERM)
        done = []

        def short_block():
            with unstoppable():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("the block")

        with stoppable(), pytest.raises(Stopped):
            short_block()
        assert done == ["the block"]
        assert signal.getsignal(signal.SIGTERM) is before


class TestRefused:
    def refused(self, said, folder="in", out="out", **wish):
        with pytest.raises(UserError, match=said):
            grade_folder(Path(folder), MANY, Path(out), Options(**wish))

    def test_an_unknown_name_is_told_with_the_nearest(self, course, grader):
        self.refused("no submission called 'alcie': did you mean alice?", only=["bob", "alcie"])
        self.refused("no submission called 'x'", only=["x"])
        assert not grader.graded and not Path("out").exists()

    @pytest.mark.parametrize("out", ["in", "in/out", "in/alice/out", "in/../in/x", "link/x"])
    def test_results_among_the_submissions(self, course, grader, out):
        Path("link").symlink_to("in")
        self.refused("is inside in, where it would be taken for a submission", out=out)

    def test_results_that_cannot_be_written_are_told_before_grading(self, course, grader):
        Path("file").touch()
        self.refused("file is a file", out="file")
        self.refused("file/out cannot be written: Not a directory", out="file/out")
        self.refused("cannot be written", out="/proc/out")
        Path("out/results.jsonl").mkdir(parents=True)
        self.refused("results.jsonl is a folder")
        Path("out/results.jsonl").rmdir()
        Path("out/.lock").mkdir()
        self.refused("cannot be written: Is a directory")
        assert not grader.graded

    @pytest.mark.permissions
    def test_a_folder_that_one_may_only_read(self, course, grader):
        Path("out").mkdir(mode=0o500)
        self.refused("cannot be written: Permission denied")

    def test_two_runs_at_once(self, course, grader):
        Path("out").mkdir()
        with only_run_in(Path("out")):
            self.refused("Another run is writing to out")
        assert grade(grader)[1]

    def test_folders_that_hold_nothing_to_grade(self, course, grader):
        Path("empty").mkdir()
        self.refused("empty holds no submissions", folder="empty")
        self.refused("nowhere is not a folder", folder="nowhere")
        for student in ("alice", "bob"):
            Path("other", student, "one-neuron").mkdir(parents=True)
        self.refused("holds work for one-neuron and none for many-neurons", folder="other")

    @pytest.mark.slow
    def test_points_for_a_check_that_does_not_exist(self, course, grader):
        folder = course / "solutions" / MANY
        folder.mkdir(parents=True)
        text = f'assignment = "{MANY}"\n[points]\ntrainng = 1\n'
        (folder / "assignment.toml").write_text(text)
        self.refused("no check is called 'trainng'")
        assert not grader.graded

    def test_submissions_in_a_folder_of_the_results_are_fine(self, course, grader):
        assert grade_folder(Path("in"), MANY, Path(), Options())
        assert grader.graded == ["alice", "bob", "carol"]


WITHOUT_TORCH = """
import sys
from contextlib import nullcontext
from pathlib import Path
from grading.runs import run
from grading.submissions.reading import digest_of
from grading.workers.jobs import Graded
from tests.test_journal import result
import msgspec
def grade(machines, entries, job):
    for entry in entries:
        digest = digest_of(entry, job.assignment)
        yield Graded(msgspec.structs.replace(result(entry.name), digest=digest), again=False)
run.graded_by = grade
run.open_zygote = lambda *wish: nullcontext(None)
for _ in range(2):
    assert run.grade_folder(Path("in"), "many-neurons", Path("out"), run.Options())
assert "torch" not in sys.modules
"""


@pytest.mark.slow
def test_the_main_process_of_a_run_needs_no_torch(course):
    command = [sys.executable, "-c", WITHOUT_TORCH]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": ROOT}
    )
    assert done.returncode == 0, done.stderr
    assert "0 graded, 3 unchanged since" in done.stdout


def start(course, *more):
    command = [sys.executable, "-m", "grading.cli", "grade", "in", "--assignment", MANY]
    return subprocess.Popen(
        [*command, "--out", "out", "--workers", "2", *more],
        cwd=course,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def journalled(course):
    """The whole lines of the journal by submission; each submission has one at most."""
    path = course / "out" / FILE
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
    found = {line["result"]["submission"]: line["result"] for line in lines}
    assert len(found) == len(lines)
    return found


def left_behind(session):
    """The processes of a session that are still there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(path.parent.name)
    return found


def all_gone(session):
    """Whether nothing of a session is left soon after its first process has ended.

    The others notice that end a moment later, and close their files before they are gone.
    """
    until = time.monotonic() + 120
    while left_behind(session) and time.monotonic() < until:
        time.sleep(0.05)
    return not left_behind(session)


@pytest.mark.proof
def test_kills_at_many_points_lose_nothing_and_nothing_is_graded_twice(tmp_path):
    submit(tmp_path / "in", **{f"s{number:02}": "".join(RIGHT) for number in range(20)})
    known: dict[str, dict[str, object]] = {}
    for least, number in (
        (1, signal.SIGTERM),
        (5, signal.SIGKILL),
        (9, signal.SIGINT),
        (13, signal.SIGHUP),
    ):
        with start(tmp_path) as running:
            while running.poll() is None and len(journalled(tmp_path)) < least:
                time.sleep(0.01)
            # Ctrl-C reaches every process of the terminal, the others this one only.
            (os.killpg if number == signal.SIGINT else os.kill)(running.pid, number)
            _, said = running.communicate(timeout=300)
        found = journalled(tmp_path)
        assert found.items() >= known.items()
        known = found
        if number == signal.SIGKILL:
            assert running.returncode == -number
        else:
            assert running.returncode == 128 + number
            assert f"Stopped with {len(found)} of 20 graded" in said and "Traceback" not in said
        assert all_gone(running.pid)
    with start(tmp_path) as running:
        said, errors = running.communicate(timeout=600)
    assert running.returncode == 0, errors
    assert f"{20 - len(known)} graded, {len(known)} unchanged since" in said
    text = (tmp_path / "out" / "results.jsonl").read_text(encoding="utf-8")
    results = {line["submission"]: line for line in map(json.loads, text.splitlines())}
    assert len(text.splitlines()) == len(results) == 20
    assert {each["score"] for each in results.values()} == {10.0}
    # The seconds too: what was in the journal was not graded again.
    assert results.items() >= known.items()
