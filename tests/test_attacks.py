"""A class of attackers, graded among ordinary students: none gains, harms or leaves a trace.

They are graded by the package as it is installed from its wheel, at each level, as each user.

Each attacker does its work right, or wrong in one stage, and attacks by the way. An attack that
gets through shows itself: it raises `Through`, which would stand in the advice, or reaches one of
the canaries laid out beside the class.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from grading.attacks import Attack, attacks
from grading.attacks.attempt import (
    SECRET,
    Attempted,
    attempt,
    told,
    traces,
    verdicts,
    wrong,
)
from grading.attacks.files import NAMES
from tests.users import ORDINARY, PROJECT, as_ordinary_user, needs
from tests.wheels import build, install

pytestmark = [
    pytest.mark.proof,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux locks processes down"),
]
CONFIGURATIONS = [
    pytest.param(
        (level, user), id=f"{level}-{user}", marks=pytest.mark.xdist_group(f"{level}-{user}")
    )
    for level in ("full", "partial")
    for user in ("root", "ordinary")
]


@dataclass(frozen=True)
class Graded(Attempted):
    """What came of grading the class once, at one isolation level."""

    level: str

    def expected(self) -> Iterator[tuple[str, Attack, dict]]:
        """The name of each submission, what is expected of it, and what came of it."""
        for name, result in self.results.items():
            yield name, attacks()[name], result


def give_away(course: Path) -> None:
    if os.geteuid():
        return
    for path in (course, *course.rglob("*")):
        os.chown(path, ORDINARY, ORDINARY, follow_symlinks=False)


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """A Python that has the package from its wheel, where any user can read it."""
    with tempfile.TemporaryDirectory(prefix="installed-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "wheel").mkdir()
        yield install(build(folder / "wheel"), folder / "environment")


def as_user(user: str) -> list[str]:
    """What to put before a command to run it as "root" or as an "ordinary" user."""
    if user == "ordinary":
        return as_ordinary_user()
    if os.geteuid():
        pytest.skip("only root can grade as root")
    return []


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def graded(request: pytest.FixtureRequest, installed: Path) -> Iterator[Graded]:
    level, user = request.param
    if level == "full":
        needs("bwrap")
    (packages,) = installed.parents[1].glob("lib/python*/site-packages")
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        course = Path(name)
        course.chmod(0o755)
        tried = attempt(
            course,
            level,
            command=[*as_user(user), str(installed), "-P", "-m", "grading.cli"],
            project=packages,
            prepared=lambda: give_away(course) if user == "ordinary" else None,
        )
        yield Graded(**vars(tried), level=level)


def test_every_submission_has_its_line_and_the_run_succeeds(graded):
    handed_in = {path.stem for path in (graded.course / "class").iterdir()}
    assert set(graded.results) == handed_in, graded.said
    assert graded.code == 0, graded.said


def test_every_attack_gets_the_mark_that_its_work_deserves(graded):
    for name, entry, result in graded.expected():
        assert result["status"] == entry.status, (name, result)
        assert result["score"] == pytest.approx(entry.score), (name, told(result))
        assert wrong(result) == entry.wrong, (name, told(result))


def test_every_attack_is_stopped_and_its_student_told_by_what(graded):
    untold = []
    for name, entry, result in graded.expected():
        text = told(result)
        assert "Through" not in text, (name, text)
        parts = entry.told_at(graded.level)
        untold += [(name, part, text.strip()) for part in parts if part not in text]
    assert not untold


def test_ordinary_marks_are_those_without_attackers(graded):
    for name in ("right", "right-too"):
        assert graded.results[name]["score"] == 10
        assert told(graded.results[name]).strip() == ""
    assert wrong(graded.results["wrong"]) == {"sigmoid/gradient/z": "failed"}


def test_no_hidden_input_no_secret_and_no_folder_is_told(graded):
    for name, result in graded.results.items():
        text = told(result)
        assert SECRET not in text, name
        assert str(graded.course) not in text, name
        assert str(PROJECT) not in text, name
        if "LEAKED" in text:
            assert name == "inputs-in-messages", (name, text)


def test_nobody_was_reached(graded):
    assert graded.knocks == 0


def test_nothing_is_left_behind(graded):
    assert graded.left_running == set()
    assert traces() == []
    assert list(Path("/dev/shm").glob("psm_*")) == []
    out = {path.name for path in (graded.course / "out").iterdir()}
    published = {"results.jsonl", "grades.csv", "run.json", "report"}
    assert out == published | {"journal.jsonl", ".lock", ".seed"}
    assert not [path for path in graded.course.rglob("*attack*") if path.parent.name != "class"]


def test_what_is_printed_holds_no_escape_of_theirs(graded):
    assert "\x1b" not in graded.said
    assert "\u202e" not in graded.said


def test_the_doctor_calls_contained_what_was_contained(graded):
    found = verdicts(graded)
    attackers = [name for name in graded.results if attacks()[name].numbers]
    assert len(found) == len(attackers) + 5
    assert [each for each in found if each.why] == []


@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_the_doctor_attacks_the_machine_at_hand(installed, user):
    done = subprocess.run(
        [*as_user(user), str(installed), "-P", "-m", "grading.cli", "doctor", "--attack"],
        cwd="/",
        env=os.environ | {"HOME": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT contained" not in done.stdout
    assert f"All {len(attacks()) - 3 + 5} attempts were contained" in done.stdout
    for attack in attacks().values():
        assert not attack.numbers or attack.attempt.split()[0] in done.stdout


def test_what_is_made_is_described_and_what_is_described_can_be_made():
    kept = {path.stem for path in (PROJECT / "grading/attacks/class").iterdir()}
    assert set(attacks()) == kept | NAMES
    for name, attack in attacks().items():
        assert all(1 <= number <= 72 for number in attack.numbers), name
        assert attack.attempt.endswith("."), name
        compile(attack.text, name, "exec")


def numbers_in(text: str) -> set[int]:
    """The numbers of "1–3, 12"."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("–")
        found |= set(range(int(first), int(last or first) + 1))
    return found


def test_the_documents_table_lists_what_the_class_attempts():
    document = (PROJECT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\d–, ]+) \|", document, re.MULTILINE)
    listed = [number for row in rows for number in sorted(numbers_in(row))]
    attempted = {number for attack in attacks().values() for number in attack.numbers}
    assert len(listed) == len(set(listed))
    assert set(listed) == attempted
    # Neither can be shown by one submission, and no assignment has optimizers.
    assert set(range(1, 73)) - attempted == {35, 36, 62}
    assert "**35, 36:" in document
