"""``backprop check --watch``: checks again at every save, and survives what editors do."""

import signal
import subprocess
import sys

import pytest

from grading.saves import saves
from tests.test_far import RIGHT

WRONG = "".join(RIGHT).replace("g * a * (1 - a)", "g * (1 - a * a)")


class Clock:
    """Lets a test do something between two looks, instead of time passing."""

    def __init__(self, *events):
        self.events = [*events]

    def sleep(self, seconds):
        if not self.events:
            raise KeyboardInterrupt
        event = self.events.pop(0)
        if event:
            event()


@pytest.fixture
def watched(monkeypatch, tmp_path):
    """How often a file is checked while the given events happen to it."""
    file = tmp_path / "mine.py"
    file.write_text("1")

    def count(*events):
        monkeypatch.setattr(
            "grading.saves.time", Clock(*(event and event(file) for event in events))
        )
        seen = []
        with pytest.raises(KeyboardInterrupt):
            for _ in saves(file):
                seen.append(file.read_text() if file.exists() else None)
        return seen

    return count


def write(text):
    return lambda file: lambda: file.write_text(text)


def gone(file):
    return file.unlink


def test_a_file_is_checked_at_once_and_not_again_while_it_stays_the_same(watched):
    assert watched(None, None, None) == ["1"]


def test_a_save_is_checked_once(watched):
    assert watched(None, write("22"), None, None) == ["1", "22"]


def test_a_file_that_is_still_being_written_is_waited_for(watched):
    assert watched(write("22"), write("333"), write("4444"), None, None) == ["1", "4444"]


def test_a_file_that_is_gone_for_a_while_is_waited_for(watched):
    assert watched(gone, None, None, write("22"), None) == ["1", "22"]


def test_a_folder_is_watched_for_the_files_in_it(monkeypatch, tmp_path):
    (tmp_path / "notes.txt").write_text("1")
    events = (
        lambda: (tmp_path / "notes.txt").write_text("22"),
        None,
        lambda: (tmp_path / "mine.py").write_text("1"),
        None,
    )
    monkeypatch.setattr("grading.saves.time", Clock(*events))
    seen = 0
    with pytest.raises(KeyboardInterrupt):
        for _ in saves(tmp_path):
            seen += 1
    assert seen == 2


@pytest.mark.slow
def test_every_save_is_checked_until_it_is_interrupted(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(WRONG)
    process = subprocess.Popen(
        [sys.executable, "-m", "grading.cli", "check", "mine.py", "--stage", "Sigmoid", "--watch"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""

    def until(words):
        nonlocal said
        said = ""
        assert process.stdout is not None
        while words not in said:
            line = process.stdout.readline()
            assert line, process.communicate()
            said += line

    try:
        until("Ctrl-C")
        assert "∂C/∂z is wrong" in said and "mine.py" in said
        file.write_text("class Sigmoid(")
        until("Ctrl-C")
        assert "mine.py" in said and "Traceback" not in said
        file.write_text("".join(RIGHT))
        until("Ctrl-C")
        assert "All 6 checks passed" in said
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert errors == ""
    assert process.returncode == 0


@pytest.mark.slow
def test_a_file_that_does_not_exist_yet_is_waited_for(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "grading.cli", "check", "mine.py", "--watch"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = ""
    while "Ctrl-C" not in line:
        line = process.stdout.readline()
        if "mine.py does not exist." in line:
            break
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert "mine.py does not exist." in line
    assert process.returncode == 2
