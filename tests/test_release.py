"""What students get is what the solutions say, without the solutions."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from grading.nbgrader.check_cells import cell_points
from grading.nbgrader.release import release_assignment
from harness.course.assignments import SHIPPED, load_assignment
from harness.course.settings import Settings
from harness.errors import UserError
from harness.probes import plan

COURSE = Path(__file__).parents[1]


def cells_of(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def solutions_in(path):
    """The lines between the solution marks of a notebook."""
    text = "\n".join("".join(cell["source"]) for cell in cells_of(path))
    regions = re.findall(r"### BEGIN SOLUTION\n(.*?)### END SOLUTION", text, re.DOTALL)
    return [line.strip() for region in regions for line in region.splitlines() if line.strip()]


@pytest.fixture
def course(tmp_path):
    shutil.copytree(COURSE / "solutions", tmp_path / "solutions")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_assignments_are_in_step_with_solutions(course, name):
    release_assignment(course, name)
    made, kept = course / "assignments" / name, COURSE / "assignments" / name
    assert sorted(p.name for p in made.iterdir()) == sorted(p.name for p in kept.iterdir())
    for path in made.iterdir():
        assert path.read_text(encoding="utf-8") == (kept / path.name).read_text(encoding="utf-8"), (
            f"{path.name} is out of step: run backprop release"
        )
    source = course / "solutions" / name / f"{name}.ipynb"
    original = COURSE / "solutions" / name / f"{name}.ipynb"
    assert source.read_bytes() == original.read_bytes(), "points are out of step"


@pytest.mark.parametrize("name", SHIPPED)
def test_no_solution_leaks(name):
    secrets = solutions_in(COURSE / "solutions" / name / f"{name}.ipynb")
    released = COURSE / "assignments" / name / f"{name}.ipynb"
    assert len(secrets) >= 5
    text = "\n".join("".join(cell["source"]) for cell in cells_of(released))
    assert "SOLUTION" not in text
    # Loops that the prose shows are given.
    shown = {
        line.strip()
        for block in re.findall(r"```python(.*?)```", text, re.DOTALL)
        for line in block.split("\n")
    }
    code = [line for line in secrets if "saved_tensors" not in line and line not in shown]
    code = [line for line in code if re.search(r"\w", line)]
    assert [line for line in code if line in text] == []
    assert text.count("raise NotImplementedError") == len(load_assignment(name).parts)
    assert all(not cell.get("outputs") for cell in cells_of(released))


@pytest.mark.slow
def test_points_set_by_the_instructor_reach_the_cells(course):
    folder = course / "solutions" / "one-neuron"
    text = 'assignment = "one-neuron"\n[points]\n"sigmoid/gradient/z" = 4.5\n'
    (folder / "assignment.toml").write_text(text)
    release_assignment(course, "one-neuron")
    for path in (folder, course / "assignments" / "one-neuron"):
        marks = [
            cell["metadata"].get("nbgrader", {}) for cell in cells_of(path / "one-neuron.ipynb")
        ]
        points = {mark["grade_id"]: mark["points"] for mark in marks if mark.get("grade")}
        assert points["check-sigmoid"] == 5.1
    assert (course / "assignments" / "one-neuron" / "assignment.toml").read_text() == text


@pytest.mark.slow
def test_what_stands_beside_the_handout_survives(course):
    notes = course / "assignments" / "one-neuron" / "README.md"
    notes.parent.mkdir(parents=True)
    notes.write_text("mine")
    release_assignment(course, "one-neuron")
    assert notes.read_text() == "mine"


def test_a_module_beside_the_solution_is_refused_because_it_would_be_handed_out(course):
    (course / "solutions" / "one-neuron" / "answers.py").write_text("x = 1")
    with pytest.raises(UserError, match=r"answers\.py would be handed out"):
        release_assignment(course, "one-neuron")


def test_a_folder_without_solutions_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds no notebook"):
        release_assignment(tmp_path, "one-neuron")


def test_settings_that_mean_nothing_are_refused(course):
    (course / "solutions" / "one-neuron" / "assignment.toml").write_text("feedback = 3")
    with pytest.raises(UserError, match=r"assignment\.toml"):
        release_assignment(course, "one-neuron")


@pytest.mark.parametrize("name", SHIPPED)
def test_the_cells_of_a_handout_share_out_all_points(name):
    planned = plan(load_assignment(name), Settings())
    names = [each for part in load_assignment(name).parts for each in part]
    calls = [f"check({each})" for each in names]
    if load_assignment(name).network:
        calls.append(f"train({', '.join(names)})")
    points = [cell_points("c", f"x = 1\n{call}", planned) for call in calls]
    assert sum(points) == pytest.approx(10.0)
    with pytest.raises(UserError, match=r"neither check\(\) nor train\(\)"):
        cell_points("c", "print(1)", planned)
