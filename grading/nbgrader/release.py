"""Turns the instructor's solutions/ into what students get, assignments/, through nbgrader."""

from __future__ import annotations

import io
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grading.nbgrader.check_cells import stages_checked
from harness.course.assignments import load_assignment
from harness.course.settings import SETTINGS_FILE, settings_beside
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.probes import Planned

SOURCE, RELEASE = "solutions", "assignments"


def release_assignment(course: Path, name: str, target: Path | None = None) -> list[Path]:
    """Writes ``assignments/NAME`` of the course from its ``solutions/NAME``; returns the files.

    The points of the check cells are set from the assignment, in the source too. ``target``
    is written to instead of ``assignments/NAME``, if given. Raises UserError where
    nbgrader refuses, or where a file would give the solution away.
    """
    from harness.probes import plan

    source = course / SOURCE / name
    refuse_leaks(source)
    planned = plan(load_assignment(name), settings_beside(source, name))
    for notebook in sorted(source.glob("*.ipynb")):
        set_points(notebook, planned)
    target = target or course / RELEASE / name
    with tempfile.TemporaryDirectory(prefix="backprop-release-") as folder:
        shutil.copytree(source, Path(folder, SOURCE, name), ignore=shutil.ignore_patterns(".*"))
        _generate(Path(folder), name)
        target.mkdir(parents=True, exist_ok=True)
        return [
            Path(shutil.copyfile(made, target / made.name))
            for made in sorted(Path(folder, RELEASE, name).iterdir())
            if made.is_file()
        ]


def set_points(notebook: Path, planned: tuple[Planned, ...]) -> None:
    """Gives each check cell of a notebook the points of the checks it makes; writes if changed."""
    import nbformat

    try:
        content: Any = nbformat.read(notebook, nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]
    except (nbformat.reader.NotJSONError, ValueError) as error:
        raise UserError(f"{notebook} is not a notebook: {error}.") from None
    if give_points(content, planned, notebook):
        nbformat.write(content, notebook)  # type: ignore[no-untyped-call]


def give_points(content: Any, planned: tuple[Planned, ...], notebook: Path) -> bool:
    """Gives each check cell of a notebook's content its points; returns whether any changed.

    Raises UserError, which names ``notebook``, for a check cell that makes no checks.
    """
    changed = False
    for cell in content.cells:
        mark = cell.metadata.get("nbgrader", {})
        # A written answer, and code that a person marks, keep the points they have.
        if mark.get("grade") and not mark.get("solution"):
            points = cell_points(cell.source, planned)
            if points is None:
                raise UserError(
                    f"{notebook}: the check cell {mark.get('grade_id')!r} calls neither check() "
                    "nor train() in its last line."
                )
            changed |= mark.get("points") != points
            mark["points"] = points
    return changed


def cell_points(source: str, planned: tuple[Planned, ...]) -> float | None:
    """The points of the checks that a cell makes in its last line; None if it makes none."""
    wanted = stages_checked(source)
    if wanted is None:
        return None
    return round(sum(check.max_points for check in planned if check.stage in wanted), 9)


def refuse_leaks(source: Path) -> None:
    """Raises UserError for a source folder with anything but notebooks and settings.

    nbgrader copies whatever is no notebook as it is: a module beside it would be handed out.
    """
    if not any(source.glob("*.ipynb")):
        raise UserError(f"{source} holds no notebook: run this in the course's folder.")
    for path in sorted(source.iterdir()):
        known = path.suffix == ".ipynb" or path.name == SETTINGS_FILE or path.name.startswith(".")
        if not known:
            raise UserError(
                f"{path} would be handed out as it is: only notebooks and {SETTINGS_FILE} belong "
                "there."
            )


def _generate(course: Path, name: str) -> None:
    from nbgrader.converters import GenerateAssignment
    from nbgrader.converters.base import NbGraderException
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

    config = Config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.source_directory = SOURCE
    config.CourseDirectory.release_directory = RELEASE
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
