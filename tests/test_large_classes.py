"""What reads all results of a class holds few of them in memory."""

from __future__ import annotations

import io
import tracemalloc
from importlib import import_module

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from grading.cli import main
from grading.exports.marks import canvas
from grading.results.record import LazyResults, read_results
from grading.runs.overrides import override
from grading.runs.preview import print_moves
from tests.published import published, result_of, wrong_line

COUNT, EACH = 200, 200_000


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    """A folder with results that take 40 MB together."""
    folder = tmp_path_factory.mktemp("marks")
    lines = (wrong_line("x" * EACH) for _ in range(COUNT))
    published(folder, [result_of(f"s{at:03}", line) for at, line in enumerate(lines)])
    return folder


def preview_where_every_mark_moves(folder):
    before = read_results(folder)
    after = LazyResults(
        before.names, lambda name: msgspec.structs.replace(before.named(name), score=0.5)
    )
    moves = print_moves(Console(file=io.StringIO()), (before, {}), (after, {}))
    assert moves.up == COUNT


def override_of_one(folder):
    assert override(folder, "s007", None, 1.5, "because").mark == 1.5
    assert read_results(folder).named("s007").mark == 1.5


def marks_for_canvas(folder):
    rows = [f"{name},{at},,{name},A," for at, name in enumerate(read_results(folder).names)]
    gradebook = folder / "gradebook.csv"
    gradebook.write_text("\n".join(["Student,ID,SIS User ID,SIS Login ID,Section,HW (1)", *rows]))
    table = canvas(read_results(folder), "HW", gradebook)
    assert table.count("\n") == COUNT + 2


def marks_for_nbgrader(folder):
    call = ["export", "nbgrader", str(folder), "--db", f"sqlite:///{folder / 'gradebook.db'}"]
    assert f"{COUNT} students are in" in CliRunner().invoke(main, call).output


def feedback(folder):
    out = folder / "feedback.zip"
    done = CliRunner().invoke(main, ["export", "feedback", str(folder), "--out", str(out)])
    assert f"{COUNT} pages" in done.output and out.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "use",
    [
        preview_where_every_mark_moves,
        override_of_one,
        marks_for_canvas,
        marks_for_nbgrader,
        feedback,
    ],
)
def test_few_results_are_in_memory_at_a_time(marks, use, monkeypatch):
    for module in ("grading.nbgrader.gradebook", "grading.pages.mathematics", "torch"):
        import_module(module)
    monkeypatch.chdir(marks)
    tracemalloc.start()
    try:
        use(marks)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < COUNT * EACH / 2
