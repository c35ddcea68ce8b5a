"""`backprop start`: a handout from the installed package, where a student is."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from grading.cli import main
from harness.course.assignments import SHIPPED
from tests.users import PROJECT


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, ["start", *arguments])


def test_it_lists_the_handouts(start):
    listed = start().stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(SHIPPED)
    assert listed[1].endswith("Many neurons a layer")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_handout_is_what_release_makes(start, tmp_path, name):
    done = start(name)
    assert done.exit_code == 0 and f"Wrote {name}/{name}.ipynb" in done.stdout
    made = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
    released = PROJECT / "assignments" / name
    assert made == {path.name: path.read_bytes() for path in released.iterdir()}


@pytest.mark.parametrize("there", ["assignment.toml", "one-neuron.ipynb"])
def test_work_that_is_there_stays_as_it_is(start, tmp_path, there):
    (tmp_path / "one-neuron").mkdir()
    file = tmp_path / "one-neuron" / there
    file.symlink_to("nowhere") if "toml" in there else file.write_text("mine")
    done = start("one-neuron")
    said = f"Error: one-neuron/{there} is there already; nothing was written.\n"
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", said)
    assert list(file.parent.iterdir()) == [file]
    assert "toml" in there or file.read_text() == "mine"


def test_what_is_no_handout_is_refused_with_their_names(start, tmp_path):
    done = start("no-neurons")
    assert done.exit_code == 2 and "'one-neuron', 'many-neurons'" in done.stderr
    (tmp_path / "one-neuron").write_text("mine")
    done = start("one-neuron")
    assert (done.exit_code, done.stderr) == (2, "Error: one-neuron cannot be used: File exists.\n")
