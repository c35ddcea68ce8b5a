"""``backprop check --watch``: checks again at every save, and survives what editors do."""

import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from grading.selfcheck.watching import saves
from tests.test_remote import RIGHT

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


def checked(path, look):
    """What is seen at each check, until the events end."""
    seen = []
    try:
        for _ in saves(path):
            seen += [look()]
    except KeyboardInterrupt:
        return seen
    raise AssertionError("watching does not end by itself")


@pytest.fixture
def watched(monkeypatch, tmp_path):
    """How often a file is checked while the given events happen to it."""
    file = tmp_path / "mine.py"
    file.write_text("1")

    def count(*events):
        monkeypatch.setattr(
            "grading.selfcheck.watching.time", Clock(*(event and event(file) for event in events))
        )
        return checked(file, file.read_text)

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
    monkeypatch.setattr("grading.selfcheck.watching.time", Clock(*events))
    assert len(checked(tmp_path, lambda: None)) == 2


@contextmanager
def watching(folder, *options):
    """The command, in a process of its own, and what it says up to each wait for a save."""
    command = [sys.executable, "-m", "grading.cli", "check", "mine.py", "--watch", *options]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:

        def said():
            assert process.stdout and process.stderr
            lines: list[str] = []
            while not lines or "Ctrl-C" not in lines[-1]:
                lines.append(process.stdout.readline())
                assert lines[-1], process.stderr.read()
            return "".join(lines)

        try:
            yield process, said
        finally:
            process.kill()


def interrupted(process):
    """The exit code and the errors of the command once it is interrupted."""
    process.send_signal(signal.SIGINT)
    return process.wait(), process.stderr.read()


@pytest.mark.slow
def test_every_save_is_checked_until_it_is_interrupted(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(WRONG)
    with watching(tmp_path, "--stage", "Sigmoid") as (process, said):
        first = said()
        assert "mine.py" in first and "∂C/∂z is wrong" in first
        file.write_text("class Sigmoid(")
        assert "mine.py" in said()
        file.write_text("".join(RIGHT))
        assert "All 8 checks passed" in said()
        code, errors = interrupted(process)
        assert code == 0 and errors.count("the declared settings of many-neurons are used") == 1


@pytest.mark.slow
def test_a_file_that_does_not_exist_yet_is_waited_for(tmp_path):
    with watching(tmp_path) as (process, said):
        assert "mine.py does not exist." in said()
        assert interrupted(process) == (2, "")


@pytest.mark.slow
def test_packages_that_the_settings_name_meanwhile_are_there_at_the_next_save(tmp_path):
    file, settings = tmp_path / "mine.py", tmp_path / "assignment.toml"
    code = "from scipy.special import expit\n" + "".join(RIGHT)
    code = code.replace("torch.sigmoid(z)", "torch.from_numpy(expit(z.detach().numpy()))")
    file.write_text(code)
    with watching(tmp_path, "--assignment", "many-neurons", "--stage", "Sigmoid") as (_, said):
        assert "No module named 'scipy'" in said()
        settings.write_text('assignment = "many-neurons"\npackages = ["scipy"]\n')
        file.write_text(code + "\n")
        assert "All 8 checks passed" in said()
        settings.write_text('assignment = "many-neurons"\npackages = ["not-to-be-had"]\n')
        file.write_text(code)
        assert "not-to-be-had is not installed" in said()
