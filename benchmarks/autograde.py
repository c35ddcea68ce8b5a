"""What nbgrader costs with the plugin and without: ``python -m benchmarks.autograde``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.meter import ROOT, Command, Usage, measure
from benchmarks.mix import Submission, make_mix, sample_of

NAME = "many-neurons"
NBGRADER = str(Path(sys.executable).with_name("nbgrader"))
PLUGIN = "from grading.nbgrader.plugin import configure\nconfigure(get_config())\n"
STOCK = (
    "c = get_config()\n"
    'c.CourseDirectory.source_directory = "solutions"\n'
    'c.CourseDirectory.release_directory = "assignments"\n'
    "c.Execute.timeout = 300\n"
)
ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    "PYTHONPATH": str(ROOT),
    "PYTHONWARNINGS": "ignore",
}


def prepare(course: Path, submissions: list[Submission]) -> None:
    """A course whose assignment is generated, and what its students handed in."""
    shutil.copytree(ROOT / "solutions" / NAME, course / "solutions" / NAME)
    (course / "nbgrader_config.py").write_text(STOCK, encoding="utf-8")
    subprocess.run(
        [NBGRADER, "generate_assignment", NAME],
        cwd=course,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        check=True,
    )
    released = (course / "assignments" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8")
    for each in submissions:
        folder = course / "submitted" / each.name / NAME
        folder.mkdir(parents=True)
        notebook = _notebook(json.loads(released), each.code)
        (folder / f"{NAME}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")


def _notebook(released: dict[str, list[dict[str, object]]], code: str) -> dict[str, object]:
    """The handout with all of the student's code in the first cell for it."""
    for cell in released["cells"]:
        mark = cell["metadata"].get("nbgrader", {})  # type: ignore[attr-defined]
        if mark.get("solution"):
            cell["source"], code = code, ""
    return {**released}


def autograde(course: Path, config: str) -> Usage:
    """What autograding the course costs under a configuration."""
    (course / "nbgrader_config.py").write_text(config, encoding="utf-8")
    command = Command([NBGRADER, "autograde", NAME, "--force"], str(course), ENVIRONMENT)
    usage = measure([command], course / "log")
    if usage.codes != [0]:
        raise click.ClickException((course / "log").read_text(encoding="utf-8")[-2000:])
    return usage


@click.command()
@click.option("--submissions", type=click.IntRange(min=2), default=20, show_default=True)
def main(submissions: int) -> None:
    """Prints the time and the processor time of both, and their ratios."""
    sample = sample_of(make_mix(2 * submissions), submissions)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as workspace:
        course = Path(workspace)
        prepare(course, sample)
        with_plugin, stock = autograde(course, PLUGIN), autograde(course, STOCK)
    table = Table("nbgrader autograde", "wall, s", "CPU, s", "other work, cores")
    for name, used in (("with the plugin", with_plugin), ("stock", stock)):
        table.add_row(name, f"{used.wall:.1f}", f"{used.cpu:.1f}", f"{used.others:.2f}")
    table.add_row(
        "stock ÷ plugin",
        f"{stock.wall / with_plugin.wall:.1f}",
        f"{stock.cpu / with_plugin.cpu:.1f}",
        "",
    )
    Console().print(f"{len(sample)} notebooks of {NAME}", table)


if __name__ == "__main__":
    main()
