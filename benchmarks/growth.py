"""What large classes cost in memory and disk: ``python -m benchmarks.growth``.

A sample is graded, and the class is made of it: its files are all different, and each has the
result of one of the sample that is wrong, or right, in the same way. So every command has as much
to do as after a real run, without the hours that grading a large class takes.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.machines import BACKPROP
from benchmarks.mix import make_mix, write_mix
from grading.results.lines import LINES, Result, replaced
from grading.results.record import each_line, read_results, read_run
from grading.results.versions import versions
from grading.runs.journal import FILE, Journal, Keys
from grading.submissions.reading import digest_of, find_submissions
from grading.workers.jobs import Job

ASSIGNMENT = "many-neurons"
SAMPLE = 200
# A process starts with the peak of the one that forked it: so one with little memory does.
LAUNCHER = """
import os, sys, time
start = time.monotonic()
pid = os.posix_spawn(
    sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)]
)
_, status, used = os.wait4(pid, 0)
print([os.waitstatus_to_exitcode(status), time.monotonic() - start, used.ru_maxrss / 1024])
"""


class Cost(NamedTuple):
    """Seconds by the clock, and the most memory that the command's own process had, in MiB."""

    seconds: float
    peak: float


def cost_of(words: Sequence[str], folder: Path, allowed: Sequence[int] = (0,)) -> Cost:
    """Run a command of backprop and return what it cost; fail where it fails."""
    with (folder / "log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-S", "-c", LAUNCHER, BACKPROP, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            check=True,
        )
    code, *cost = json.loads(done.stdout)
    if code not in allowed:
        said = (folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]
        raise click.ClickException(f"backprop {' '.join(words)} ended with {code}: {said}")
    return Cost(*cost)


def grade_sample(folder: Path) -> dict[str, list[Result]]:
    """Grade a sample and return its results by the kind of work."""
    mix = make_mix(SAMPLE, seed=0)
    write_mix(folder / "sample", mix)
    words = ["grade", folder / "sample", "--assignment", ASSIGNMENT, "--out", folder / "marks"]
    cost_of([str(word) for word in words], folder, (0, 1))
    kinds = {each.name: each.kind for each in mix}
    found: dict[str, list[Result]] = defaultdict(list)
    for result in read_results(folder / "marks"):
        found[kinds[result.submission]].append(result)
    return found


def make_class(folder: Path, count: int, sample: dict[str, list[Result]]) -> tuple[Path, Path]:
    """Write so many submissions and the journal of a run that has graded all of them."""
    handed_in, out = folder / "class", folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(handed_in, ignore_errors=True)
    mix = make_mix(count, seed=1)
    kinds = {each.name: each.kind for each in mix}
    write_mix(handed_in, mix)
    shutil.copytree(folder / "marks", out, ignore=shutil.ignore_patterns("report", FILE, LINES))
    run = read_run(folder / "marks")
    keys = Keys(Job(ASSIGNMENT, run.settings, run.seed), versions())
    every = list(chain.from_iterable(sample.values()))
    by = ", ".join(" ".join(each) for each in versions().items())
    journal = Journal(out / FILE, by)
    for number, entry in enumerate(find_submissions(handed_in)):
        alike = sample.get(kinds[entry.name], every)
        digest = digest_of(entry, ASSIGNMENT)
        result = msgspec.structs.replace(
            alike[number % len(alike)], submission=entry.name, digest=digest
        )
        journal.append(keys.key(entry.name, digest), "full", result)
    journal.close()
    return handed_in, out


def commands(handed_in: Path, out: Path, folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield what is measured, in this order: what it is called, and the words of the command."""
    grade = ["grade", str(handed_in), "--assignment", ASSIGNMENT, "--out", str(out)]
    database = f"sqlite:///{folder / 'gradebook.db'}"
    yield "publishing, with the pages", grade
    yield "`report`, again", ["report", str(out)]
    yield "`override`", ["override", str(out), "student-0001", "--points", "1", "--reason", "so"]
    yield "`grade --preview`, nothing moves", [*grade, "--preview"]
    for words in (
        ["csv", str(out), "--for", "canvas"],
        ["junit", str(out)],
        ["pseudonymous", str(out)],
        ["feedback", str(out)],
        ["nbgrader", str(out), "--db", database],
    ):
        given = [] if words[0] == "nbgrader" else ["--out", str(folder / words[0])]
        yield f"`export {words[0]}`", ["export", *words, *given]
    yield "`similar`", ["similar", str(handed_in), "--assignment", ASSIGNMENT]
    lower_marks(out)
    yield "`grade --preview`, every mark moves", [*grade, "--preview"]


def lower_marks(out: Path) -> None:
    """Take half a point from every published mark, so that a preview finds them all moved."""
    with replaced(out / LINES) as file:
        for _, result in each_line(out):
            lower = msgspec.structs.replace(result, score=(result.score or 0.0) - 0.5)
            file.write(msgspec.json.encode(lower) + b"\n")


def sizes(out: Path) -> tuple[int, float]:
    """Return how many files the report has, and how many MB of the disk they take."""
    files = [path.stat() for path in (out / "report").rglob("*") if path.is_file()]
    return len(files), sum(each.st_blocks * 512 for each in files) / 1e6


@click.command()
@click.option("--count", "counts", multiple=True, type=int, default=(2000, 20000))
@click.option("--skip", multiple=True, help="Leave out commands that have this in their name.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write it there.")
def main(counts: tuple[int, ...], skip: tuple[str, ...], json_file: Path | None) -> None:
    """Measure what each command that reads a whole class costs at each size of a class."""
    found: dict[str, dict[int, Cost]] = defaultdict(dict)
    reports: dict[int, tuple[int, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sample = grade_sample(folder)
        for count in counts:
            handed_in, out = make_class(folder, count, sample)
            for what, words in commands(handed_in, out, folder):
                if not any(part in what for part in skip):
                    found[what][count] = cost_of(words, folder, (0, 1, 3))
                    print(count, what, found[what][count], file=sys.stderr)
                if "publishing" in what:
                    reports[count] = sizes(out)
            (folder / "gradebook.db").unlink(missing_ok=True)
    table = Table("command", *(f"{count:,}: MiB, s" for count in counts))
    for what, costs in found.items():
        cells = (f"{costs[count].peak:.0f}, {costs[count].seconds:.1f}" for count in counts)
        table.add_row(what, *cells)
    Console().print(table)
    for count, (files, size) in reports.items():
        print(f"The report on {count:,}: {files} files, {size:.1f} MB on disk")
    if json_file:
        data = {"costs": found, "reports": reports}
        json_file.write_text(json.dumps(data, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
