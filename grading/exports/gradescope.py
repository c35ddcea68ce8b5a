"""An autograder for Gradescope: the zip to upload, and the results that it shows.

The formats are those of Gradescope's autograder specifications: a zip with ``setup.sh`` and
``run_autograder`` at its root, and a ``results.json``.
"""

from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import grading
import harness
from grading.exports.files import filled, message_of, zipped
from grading.results.lines import Result
from harness.course.assignments import SOURCE, declared_files, source_of
from harness.course.report import Check
from harness.course.settings import SETTINGS_FILE, load_settings
from harness.drawing.visible import visible, visible_line

# Where the packages lie in the zip, as setup.sh and run_autograder have it.
PACKAGES = "packages"
DISTRIBUTION = "backprop-harness"
# The packages of the extra for instructors that an autograder does not need.
LEFT_OUT = ("nbgrader", "nbformat")
# Where the zip holds the secret that the seeds of its submissions are derived from.
SECRET_FILE = "seed.key"


def autograder_zip(assignment: str, settings: Path | None, index: str | None, secret: str) -> bytes:
    """Return the zip to upload for an assignment, with these packages and what declares it.

    ``secret`` determines the hidden inputs of every submission; students must not know it.
    ``settings`` is the assignment's ``assignment.toml``, ``index`` the URL of a package index that
    has torch without CUDA, which saves gigabytes.
    """
    options = f"--extra-index-url '{index}' " if index else ""
    packages = load_settings(settings, assignment).packages if settings else ()
    wanted = " ".join(f"'{each}'" for each in (*requirements(), *packages))
    files: dict[str, str | bytes] = {
        "setup.sh": filled("setup.sh", options=options, requirements=wanted),
        "run_autograder": filled("run_autograder", assignment=assignment),
        SECRET_FILE: secret,
    }
    if settings:
        files[SETTINGS_FILE] = settings.read_bytes()
    declared = source_of(assignment)
    for path in declared_files(declared):
        name = path.relative_to(declared).as_posix()
        files[f"{SOURCE}/{assignment}/{name}"] = path.read_bytes()
    for package in (harness, grading):
        root = Path(package.__file__ or "").parent
        for path in sorted(root.rglob("*")):
            inside = path.relative_to(root.parent)
            # What courses are made of holds solutions.
            if path.is_file() and not {"__pycache__", "courses"} & {*inside.parts}:
                files[f"{PACKAGES}/{inside.as_posix()}"] = path.read_bytes()
    return zipped(files.items(), programs=("setup.sh", "run_autograder"))


def requirements() -> list[str]:
    """Return what the packages need to grade, as requirements for pip."""
    found: list[str] = []
    for line in distribution(DISTRIBUTION).requires or ():
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        name = requirement.split("[")[0].strip("<>=!~,. 0123456789")
        extra = "extra ==" in marker
        if (not extra or "grading" in marker) and not name.startswith(LEFT_OUT):
            found.append(requirement)
    return found


def gradescope_results(result: Result) -> dict[str, Any]:
    """Return ``results.json`` for a submission that has its mark: a test for each check.

    Students see the messages, at the assignment's level of feedback.
    """
    said = [visible(str(each)) for each in result.advice]
    output = [visible(result.reason)] if result.reason else []
    if said:
        output += ["Worth knowing (no points lost):", *said]
    return {
        "score": result.score,
        "execution_time": round(result.seconds.wall),
        "output": "\n".join(output),
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "tests": [
            _test(number, check, result.checks) for number, check in enumerate(result.checks, 1)
        ],
    }


def _test(number: int, check: Check, checks: Sequence[Check]) -> dict[str, Any]:
    title = f"{check.stage}: {check.title}" if check.stage else check.title
    return {
        "score": check.points,
        "max_score": check.max_points,
        "status": "passed" if check.outcome == "passed" else "failed",
        "name": visible_line(title),
        "number": str(number),
        "output": message_of(check, checks),
        "visibility": "visible",
    }
