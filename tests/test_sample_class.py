"""The sample class: every submission gets the outcome that expected.toml tells, check by check."""

import json
import os
import subprocess
import sys
import tomllib
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

from harness.course.assignments import SHIPPED

ROOT = Path(__file__).resolve().parent.parent
CLASS = ROOT / "tests" / "sample_class"
ASSIGNMENTS = SHIPPED
KEYS = {
    *("about", "status", "score", "failed", "error", "not_run"),
    *("message", "reason", "advice", "flags"),
}
# In the order in which a check's outcome is looked up; what none of them names has passed.
OUTCOMES = ("failed", "error", "not_run")
# Their bytes have no room for a sentence.
SPEECHLESS = {"broken-empty-file", "broken-binary-bytes"}


def expected(assignment):
    text = (CLASS / assignment / "expected.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def submissions(assignment):
    return sorted((CLASS / assignment / "submissions").iterdir())


EXPECTED = {assignment: expected(assignment) for assignment in ASSIGNMENTS}
FILES = [
    pytest.param(assignment, path, id=f"{assignment}-{path.stem}")
    for assignment in ASSIGNMENTS
    for path in submissions(assignment)
]
# The classes are graded side by side. That of the optimizers takes long: it is a proof.
MARKS = {
    assignment: [
        pytest.mark.xdist_group(f"class-{assignment}"),
        *([pytest.mark.proof] if assignment == "optimizers" else []),
    ]
    for assignment in ASSIGNMENTS
}
GRADED = [pytest.param(assignment, marks=MARKS[assignment]) for assignment in ASSIGNMENTS]
ENTRIES = [
    pytest.param(assignment, stem, id=f"{assignment}-{stem}", marks=MARKS[assignment])
    for assignment, entries in EXPECTED.items()
    for stem in entries
]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """Grades an assignment's folder, once, and gives the results by submission."""

    @cache
    def results(assignment):
        out = tmp_path_factory.mktemp(assignment)
        options = ["--assignment", assignment, "--out", out, "--workers", 2, "--seed", 0]
        command = ["-m", "grading.cli", "grade", CLASS / assignment / "submissions", *options]
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env=os.environ | {"COLUMNS": "100"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=1200,
        )
        assert done.returncode == 0, done.stdout.decode(errors="replace")
        lines = (out / "results.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    return results


def outcome_of(check, entry):
    for outcome in OUTCOMES:
        if any(fnmatchcase(check, pattern) for pattern in entry.get(outcome, [])):
            return outcome
    return "passed"


@pytest.mark.slow
@pytest.mark.parametrize("assignment", GRADED)
def test_the_class_is_graded_whole(graded, assignment):
    names = [result["submission"] for result in graded(assignment)]
    assert names == sorted(EXPECTED[assignment])


@pytest.mark.slow
@pytest.mark.parametrize(("assignment", "stem"), ENTRIES)
def test_every_check_has_its_outcome(graded, assignment, stem):
    entry = EXPECTED[assignment][stem]
    (result,) = [each for each in graded(assignment) if each["submission"] == stem]
    status = entry.get("status", "graded")
    assert result["status"] == status, result
    if status == "unreadable":
        assert entry["reason"] in result["reason"]
        assert result["score"] == 0
        return
    checks = {check["id"]: check for check in result["checks"]}
    got = {id: check["outcome"] for id, check in checks.items()}
    messages = {id: check["message"] for id, check in checks.items() if check["message"]}
    assert got == {id: outcome_of(id, entry) for id in checks}, messages
    assert result["score"] == pytest.approx(entry["score"])
    for id, part in entry.get("message", {}).items():
        assert part in checks[id]["message"]
    advice = " ".join(each["text"] for each in result["advice"])
    assert entry.get("advice", "") in advice
    assert [each["kind"] for each in result["flags"]] == entry.get("flags", [])


@pytest.mark.slow
@pytest.mark.parametrize("assignment", GRADED)
def test_every_pattern_names_a_check(graded, assignment):
    known = next(result["checks"] for result in graded(assignment) if result["checks"])
    for stem, entry in EXPECTED[assignment].items():
        patterns = [pattern for outcome in OUTCOMES for pattern in entry.get(outcome, [])]
        for pattern in [*patterns, *entry.get("message", {})]:
            assert any(fnmatchcase(check["id"], pattern) for check in known), (stem, pattern)


@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_submissions_and_expectations_match(assignment):
    stems = [path.stem for path in submissions(assignment)]
    assert len(set(stems)) == len(stems)
    assert set(stems) == set(EXPECTED[assignment])


@pytest.mark.parametrize(("assignment", "path"), FILES)
def test_a_submission_states_what_it_is(assignment, path):
    about = EXPECTED[assignment][path.stem]["about"]
    assert about.startswith(path.stem.split("-")[0].capitalize()) or path.stem == "right-plain"
    if path.stem in SPEECHLESS:
        return
    opening = path.read_bytes()[:600]
    spellings = [about.encode(encoding, "replace") for encoding in ("utf-8", "latin-1")]
    assert any(spelling in opening for spelling in spellings)


@pytest.mark.parametrize(("assignment", "stem"), ENTRIES)
def test_an_entry_fits_its_name(assignment, stem):
    entry = EXPECTED[assignment][stem]
    assert set(entry) <= KEYS
    outcomes = {outcome for outcome in OUTCOMES if outcome in entry}
    match stem.split("-")[0]:
        case "right":
            assert entry["score"] == 10 and not outcomes
        case "wrong":
            assert entry["score"] < 10 and "failed" in outcomes
        case "flagged":
            assert entry["flags"]
        case kind:
            assert kind == "broken"
    assert ("flags" in entry) == stem.startswith("flagged-")
    assert (entry.get("status") == "unreadable") == ("reason" in entry)
