"""The wheel holds what users need and nothing else, and works away from the checkout."""

import zipfile
from pathlib import Path, PurePosixPath

import pytest

from tests.wheels import build, run

pytestmark = pytest.mark.proof

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    run("-m", "pip", "install", "--no-deps", "--no-index", "--target", folder, wheel)
    return folder


def test_wheel_holds_all_files_of_both_packages(names):
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in ("harness", "grading")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert {"harness/__init__.py", "grading/cli/__init__.py"} <= expected
    assert expected <= names


def test_wheel_holds_what_pictures_and_pages_read(names):
    assert {"harness/drawing/layer_sum.svg", "harness/show/report.css"} <= names


def test_wheel_holds_the_data_with_their_licence(wheel, names):
    folder = "harness/training/data"
    assert {f"{folder}/{name}.npz" for name in ("digits", "concave_points")} <= names
    with zipfile.ZipFile(wheel) as archive:
        assert "CC BY 4.0" in archive.read(f"{folder}/README.md").decode()


def test_wheel_holds_the_tables(names):
    """The mistakes, what verify writes, and the doctor's attackers."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in ("harness", "grading")
        for path in (ROOT / package).rglob("*.toml")
    }
    assert {"harness/mistakes/sigmoid.toml", "grading/attacks/files.toml"} <= expected
    assert len(expected) > 50
    assert expected <= names


def test_wheel_carries_readme_and_licence(wheel, names):
    (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        described = archive.read(metadata).decode()
    assert (ROOT / "README.md").read_text(encoding="utf-8").strip() in described
    assert str(PurePosixPath(metadata).with_name("licenses") / "LICENSE") in names


def test_wheel_registers_the_command_and_the_plugin_of_pytest(wheel, names):
    (path,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
    with zipfile.ZipFile(wheel) as archive:
        points = archive.read(path).decode()
    assert "[console_scripts]\nbackprop = grading.cli:main" in points
    assert "[pytest11]\nbackprop = grading.selfcheck.pytest_plugin" in points


def test_wheel_holds_nothing_else(names):
    tops = {PurePosixPath(name).parts[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"harness", "grading"}


def test_installed_copy_loads_its_data_away_from_the_checkout(installed, tmp_path):
    program = """
import harness
from harness.training.datasets import load_digits
images, _ = load_digits()
print(tuple(images.shape))
print(harness.__file__)
"""
    shape, location = run("-c", program, cwd=tmp_path, path=installed).splitlines()
    assert shape == "(1797, 64)"
    assert Path(location).is_relative_to(installed)


def test_installed_command_line_starts_away_from_the_checkout(installed, tmp_path):
    shown = run("-m", "grading.cli", "--help", cwd=tmp_path, path=installed)
    assert "Usage:" in shown


def test_installed_plugin_of_pytest_is_found_away_from_the_checkout(installed, tmp_path):
    shown = run("-m", "pytest", "--help", cwd=tmp_path, path=installed)
    assert "--backprop-submission=FILE" in shown


def test_installed_command_makes_a_course_away_from_the_checkout(installed, tmp_path):
    run("-m", "grading.cli", "new", "course", cwd=tmp_path, path=installed)
    made = {path.relative_to(tmp_path / "course").as_posix() for path in tmp_path.rglob("*.*")}
    notebooks = {f"solutions/{name}/{name}.ipynb" for name in ("one-neuron", "many-neurons")}
    assert {"nbgrader_config.py", *notebooks} <= made
    run("-m", "grading.cli", "new", "course", "--assignment", "mine", cwd=tmp_path, path=installed)
    assert (tmp_path / "course/solutions/mine/assignment.py").is_file()


def test_installed_command_hands_out_without_what_only_instructors_install(installed, tmp_path):
    program = """
import sys
sys.modules |= dict.fromkeys(("nbgrader", "nbformat", "jinja2", "landlockpy", "pyseccomp"))
from grading.cli import main
try:
    main()
except SystemExit as end:
    print("exit code", end.code)
"""
    listed = run("-c", program, "start", cwd=tmp_path, path=installed)
    names = [line.split()[0] for line in listed.splitlines() if "exit code" not in line]
    assert {*names} == {path.name for path in (ROOT / "assignments").iterdir()}
    for name in names:
        assert "exit code 0" in run("-c", program, "start", name, cwd=tmp_path, path=installed)
        shown = run("-c", program, "check", name, cwd=tmp_path, path=installed)
        assert "0 of 10 points" in shown and "exit code 1" in shown
