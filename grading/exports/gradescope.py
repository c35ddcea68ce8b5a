"""An autograder for Gradescope, as the zip that it takes, and the results that it shows.

The formats are those of Gradescope's autograder specifications: a zip with ``setup.sh`` and
``run_autograder`` at its root, and a ``results.json``.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import grading
import harness
from grading.results.lines import Result
from harness.course.report import Check
from harness.course.settings import SETTINGS_FILE, load_settings
from harness.show.visible import visible, visible_line

# Where the packages lie in the zip.
PACKAGES = "packages"
DISTRIBUTION = "backprop-harness"
# Of the extra for instructors, what an autograder does not need: gradebooks are elsewhere.
LEFT_OUT = ("nbgrader", "nbformat")
# Where the secret lies in the zip that the seeds of its submissions are made with.
SECRET_FILE = "seed.key"
# Zips have no times of their own: the same course and secret give the same bytes.
NO_TIME = (1980, 1, 1, 0, 0, 0)

SETUP = """\
#!/usr/bin/env bash
# Runs once, when Gradescope builds the autograder's image.
set -euo pipefail
apt-get update
apt-get install -y --no-install-recommends python3 python3-venv libseccomp2 bubblewrap
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {{
  echo "This needs Python 3.11 or newer: choose a newer base image (Ubuntu 24.04)." >&2
  exit 1
}}
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install {options}{requirements}
# What the image can lock is told in the log; each run says it again to staff, if it is nothing.
PYTHONPATH=/autograder/source/{packages} /autograder/venv/bin/python -m grading.cli doctor || \\
  echo "WARNING: submissions are not locked down in this image." >&2
"""

RUN = """\
#!/usr/bin/env bash
# Runs for each submission. Without a results.json Gradescope shows that the autograder failed, and
# gives no mark: a fault of the grader is never a zero.
base=$(cd "$(dirname "$0")" && pwd)
python=$base/venv/bin/python
[ -x "$python" ] || python=python3
export PYTHONPATH=$base/source/{packages} PYTHONDONTWRITEBYTECODE=1
exec "$python" -m grading.exports.autograder {assignment} "$base"
"""


def autograder_zip(assignment: str, settings: Path | None, index: str | None, secret: str) -> bytes:
    """The zip to upload for an assignment.

    ``secret`` decides which hidden inputs each submission is tried on; students must not know it.
    ``settings`` is the assignment's ``assignment.toml``; ``index`` the address of a package index
    that has torch without CUDA, which saves gigabytes. The packages themselves travel along.
    """
    options = f"--extra-index-url '{index}' " if index else ""
    packages = load_settings(settings, assignment).packages if settings else ()
    wanted = " ".join(f"'{each}'" for each in (*requirements(), *packages))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as file:
        _add(
            file,
            "setup.sh",
            SETUP.format(options=options, requirements=wanted, packages=PACKAGES),
            runs=True,
        )
        run = RUN.format(packages=PACKAGES, assignment=assignment)
        _add(file, "run_autograder", run, runs=True)
        _add(file, SECRET_FILE, secret)
        if settings:
            _add(file, SETTINGS_FILE, settings.read_bytes())
        for name, path in _package_files():
            _add(file, f"{PACKAGES}/{name}", path.read_bytes())
    return data.getvalue()


def requirements() -> list[str]:
    """What the packages need to grade, as pip takes it."""
    found: list[str] = []
    for line in distribution(DISTRIBUTION).requires or ():
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        name = requirement.split("[")[0].strip("<>=!~,. 0123456789")
        extra = "extra ==" in marker
        if (not extra or "grading" in marker) and not name.startswith(LEFT_OUT):
            found.append(requirement)
    return found


def _package_files() -> Iterator[tuple[str, Path]]:
    for package in (harness, grading):
        root = Path(package.__file__ or "").parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(root.parent).as_posix(), path


def _add(file: zipfile.ZipFile, name: str, data: str | bytes, *, runs: bool = False) -> None:
    info = zipfile.ZipInfo(name, NO_TIME)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = (0o755 if runs else 0o644) << 16
    file.writestr(info, data)


def gradescope_results(result: Result) -> dict[str, Any]:
    """``results.json`` for a submission that has its mark: a test for each check.

    What students see is the messages, at the assignment's level of feedback.
    """
    said = [
        visible(f"{each.stage}: {each.text}" if each.stage else each.text) for each in result.advice
    ]
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
        "tests": [_test(number, check) for number, check in enumerate(result.checks, 1)],
    }


def _test(number: int, check: Check) -> dict[str, Any]:
    title = f"{check.stage}: {check.title}" if check.stage else check.title
    waits = f"waits for {check.waits_for}" if check.outcome == "not_run" else ""
    return {
        "score": check.points,
        "max_score": check.max_points,
        "status": "passed" if check.outcome == "passed" else "failed",
        "name": visible_line(title),
        "number": str(number),
        "output": visible(check.message) or waits,
        "visibility": "visible",
    }
