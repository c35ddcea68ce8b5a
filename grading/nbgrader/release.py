"""Turn the instructor's solutions/ into what students get, assignments/, through nbgrader."""

from __future__ import annotations

import glob
import io
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grading.nbgrader.check_cells import cell_points, check_cells
from grading.sandbox.temporary import room
from harness.course.assignments import (
    DECLARATION,
    RELEASE,
    SOURCE,
    declared_files,
    is_declared,
    load_assignment,
    module_of,
    release_in,
    source_of,
)
from harness.course.settings import SETTINGS_FILE, settings_beside
from harness.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nbformat import NotebookNode

    from harness.probes import Planned

# Files that are neither copied to students nor taken from them: names that begin with a dot too.
IGNORED = ["*.pyc", "__pycache__", "feedback", ".*"]


def release_assignment(course: Path, name: str, *, embed: bool = False) -> list[Path]:
    """Write ``assignments/NAME`` of the course from its ``solutions/NAME``; return the files.

    The points of the check cells are set from the assignment, in the source too. ``embed`` puts the
    module of an assignment of the course's own into the notebooks as well. Raise UserError
    if nbgrader refuses, or a file would give the solution away.
    """
    from grading.nbgrader.handout import write_module
    from harness.judging.validation import validate
    from harness.probes import plan

    source = source_of(name, course)
    refuse_leaks(source)
    assignment = load_assignment(name, source / DECLARATION)
    if is_declared(source):
        validate(assignment)
        write_module(source)
    planned = plan(assignment, settings_beside(source, name))
    for notebook in sorted(source.glob("*.ipynb")):
        _set_points(notebook, planned)
    target = release_in(course) / source.name
    with tempfile.TemporaryDirectory(dir=room()) as folder:
        shutil.copytree(source, Path(folder, SOURCE, source.name))
        if embed and is_declared(source):
            for path in Path(folder, SOURCE, source.name).glob("*.ipynb"):
                _embed(path, source / f"{module_of(name)}.py")
        _generate(Path(folder), source.name)
        target.mkdir(parents=True, exist_ok=True)
        return [
            Path(shutil.copyfile(made, target / made.name))
            for made in sorted(Path(folder, RELEASE, source.name).iterdir())
            if made.is_file()
        ]


def _embed(notebook: Path, module: Path) -> None:
    """Have the first cell of a notebook write the module that it imports beside it."""
    import nbformat

    content: Any = nbformat.read(notebook, nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]
    mark = {"grade": False, "locked": True, "schema_version": 3, "solution": False, "task": False}
    cell = nbformat.v4.new_code_cell(  # type: ignore[no-untyped-call]
        f"%%writefile {module.name}\n{module.read_text(encoding='utf-8')}",
        id="module",
        metadata={"nbgrader": {**mark, "grade_id": "module"}, "jupyter": {"source_hidden": True}},
    )
    content.cells.insert(0, cell)
    nbformat.write(content, notebook)  # type: ignore[no-untyped-call]


def _set_points(notebook: Path, planned: tuple[Planned, ...]) -> None:
    """Give each check cell of a notebook the points of the checks it makes; write if changed."""
    import nbformat

    try:
        content: Any = nbformat.read(notebook, nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]
    except (nbformat.reader.NotJSONError, ValueError) as error:
        raise UserError(f"{notebook} is not a notebook: {error}.") from None
    if give_points(content, planned, notebook):
        nbformat.write(content, notebook)  # type: ignore[no-untyped-call]


def give_points(content: NotebookNode, planned: tuple[Planned, ...], notebook: Path) -> bool:
    """Give each check cell of a notebook's content its points; return whether any changed.

    Raise UserError, which names ``notebook``, for a check cell that makes no checks.
    """
    changed = False
    for cell in check_cells(content):
        mark = cell.metadata.nbgrader
        points = cell_points(f"{mark.get('grade_id')!r} of {notebook}", cell.source, planned)
        changed |= mark.get("points") != points
        mark["points"] = points
    return changed


def refuse_leaks(source: Path) -> None:
    """Raise UserError for a source folder with anything but notebooks and settings.

    nbgrader copies all other files unchanged: a module beside the notebook would be handed out.
    """
    if not any(source.glob("*.ipynb")):
        raise UserError(
            f"{source} holds no notebook: write {source.name}.ipynb, or go to the course's folder."
        )
    for path in sorted(source.iterdir()):
        known = path.suffix == ".ipynb" or path.name == SETTINGS_FILE or path.name.startswith(".")
        # Of what an instructor declares, one module is handed out.
        known |= is_declared(source)
        if not known:
            raise UserError(
                f"{path} would be handed out unchanged: move it away, so that there are only "
                f"notebooks and {SETTINGS_FILE}."
            )


def files_kept_back(folders: Iterable[Path]) -> list[str]:
    """Return patterns for nbgrader's ``CourseDirectory.ignore``: what nobody is to be handed.

    These are the declarations in some folders of ``solutions/``, and the modules and data beside
    them.
    """
    names = (path.name for folder in sorted(folders) for path in declared_files(folder))
    return list(dict.fromkeys([*IGNORED, *map(glob.escape, names)]))


def _generate(course: Path, name: str) -> None:
    from nbgrader.converters import GenerateAssignment
    from nbgrader.converters.base import NbGraderException
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

    config = Config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.source_directory = SOURCE
    config.CourseDirectory.release_directory = RELEASE
    config.CourseDirectory.ignore = files_kept_back([course / SOURCE / name])
    config.CourseDirectory.assignment_id = name
    config.GenerateAssignment.no_database = True
    config.SaveCells.enabled = False
    said = io.StringIO()
    log = logging.Logger("backprop.release", logging.ERROR)
    log.addHandler(logging.StreamHandler(said))
    converter: Any = GenerateAssignment(
        coursedir=CourseDirectory(config=config, log=log), config=config, log=log
    )
    try:
        converter.start()
    except (NbGraderException, SystemExit) as error:
        raise UserError(f"nbgrader refused {name}: {said.getvalue() or error}") from None
