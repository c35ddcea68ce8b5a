"""What the project says of itself holds: its map of rooms, its versions, its workflows."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib

import pytest
import yaml

from tests.users import PROJECT

SETTINGS = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))


def rooms():
    """Return the packages and modules right below `harness` and `grading`."""
    found = (path for name in ("harness", "grading") for path in (PROJECT / name).iterdir())
    return {
        ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for path in found
        if (path / "__init__.py").exists() or (path.suffix == ".py" and path.stem != "__init__")
    }


def layers():
    """Return the layer of each room, counted from the top, that imports are held to."""
    (contract,) = SETTINGS["tool"]["importlinter"]["contracts"]
    return {room: at for at, layer in enumerate(contract["layers"]) for room in layer.split(" | ")}


def on_the_map():
    """Return the rooms that CONTRIBUTING lists, from top to bottom."""
    text = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```\n(grading/ .*?)^```$", text, re.DOTALL | re.MULTILINE)
    found, root = [], ""
    for line in block.splitlines():
        if match := re.match(r"(harness|grading)/ ", line):
            root = match[1]
        elif match := re.match(r"  (\w+)(?:/|\.py) ", line):
            found.append(f"{root}.{match[1]}")
    return found


def test_the_map_and_the_order_of_imports_list_every_room():
    found, layer = on_the_map(), layers()
    assert set(layer) == rooms()
    assert sorted(found) == sorted(layer)
    assert found == sorted(found, key=layer.__getitem__)


def test_versions_of_python_are_those_that_workflows_test():
    versions = [
        line.rsplit(" ", 1)[1]
        for line in SETTINGS["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", line)
    ]
    jobs = yaml.safe_load((PROJECT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == versions
    assert SETTINGS["project"]["requires-python"] == f">={versions[0]}"


@pytest.mark.skipif(not (PROJECT / ".git").exists(), reason="needs the repository")
def test_the_source_distribution_has_every_folder():
    command = ["git", "ls-tree", "-d", "--name-only", "HEAD"]
    listed = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    included = SETTINGS["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert set(listed.stdout.split()) <= {each.removeprefix("/") for each in included}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_what_is_there(path):
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    text = path.read_text(encoding="utf-8")
    for targets in re.findall(r"run: make (.*)", text):
        for target in targets.split():
            assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    for script in re.findall(r"run: (\.ci/\S+)", text):
        assert (PROJECT / script).stat().st_mode & 0o111


def test_actionlint_finds_nothing_in_the_workflows():
    if shutil.which("actionlint") is None:
        pytest.skip("needs actionlint, which this machine does not have")
    done = subprocess.run(
        ["actionlint", *WORKFLOWS], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
