"""What a grading run writes: one line a submission, a table of marks, and how the run was made."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from harness.report import Report

LINES, GRADES, RUN = "results.jsonl", "grades.csv", "run.json"

Status = Literal["graded", "unreadable", "grader_error"]


class CheckLine(msgspec.Struct, frozen=True):
    """One check of a result, as `harness.report.Check` describes it."""

    id: str
    stage: str | None
    title: str
    outcome: Literal["passed", "failed", "error", "not_run"]
    points: float
    max_points: float
    waits_for: str | None
    message: str
    staff: str
    case: dict[str, int] | None
    diagnosis: dict[str, str] | None


class AdviceLine(msgspec.Struct, frozen=True):
    """Advice, for one stage or, with ``stage`` None, for the whole submission."""

    stage: str | None
    text: str


class FlagLine(msgspec.Struct, frozen=True):
    """Evidence for a person to judge."""

    kind: str
    stage: str | None
    evidence: str


class Seconds(msgspec.Struct, frozen=True):
    """What grading a submission took: by the clock, and of processor time."""

    wall: float
    cpu: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A line of ``results.jsonl``. ``score`` is None only where the grader itself failed.

    ``reason`` tells the student, ``staff`` the instructor, why there are no checks.
    """

    schema: Literal[1] = 1
    submission: str
    assignment: str
    status: Status
    reason: str | None = None
    staff: str = ""
    score: float | None
    max_score: float
    checks: list[CheckLine] = []
    advice: list[AdviceLine] = []
    flags: list[FlagLine] = []
    digest: str
    seconds: Seconds


_decoder = msgspec.json.Decoder(Result)


def encode_result(result: Result) -> bytes:
    """A result as one line of JSON, without the newline."""
    return msgspec.json.encode(result)


def decode_result(line: bytes) -> Result:
    """A result from its line. Raises msgspec.DecodeError for anything else."""
    return _decoder.decode(line)


def report_of(result: Result) -> Report:
    """The judgement that a result records, as everything that shows one takes it.

    Raises msgspec.ValidationError where a diagnosis lacks a part.
    """
    return msgspec.convert(result, Report, from_attributes=True)


def publish(folder: Path, results: Collection[Result], run: dict[str, Any]) -> None:
    """Writes ``results.jsonl``, ``grades.csv`` and ``run.json``, each replaced in one step.

    The results are in the order of their names; no more than one at a time is held in memory.
    """
    with _replaced(folder / LINES) as file:
        file.writelines(encode_result(result) + b"\n" for result in results)
    with _replaced(folder / GRADES) as file:
        file.writelines(row.encode("utf-8") for row in _grades(results))
    with _replaced(folder / RUN) as file:
        file.write(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")


def _grades(results: Collection[Result]) -> Iterator[str]:
    """The rows of a table with a row a submission: mark, points of each check, mistakes."""
    ids = next(([check.id for check in each.checks] for each in results if each.checks), [])
    yield _row(["submission", "status", "score", "max_score", *ids, "mistakes", "reason"])
    for result in results:
        points = {check.id: f"{check.points:g}" for check in result.checks}
        score = "" if result.score is None else f"{result.score:g}"
        row = [result.submission, result.status, score, f"{result.max_score:g}"]
        row += [points.get(id, "") for id in ids]
        mistakes = " ".join(
            f"{check.id}:{check.diagnosis['mistake']}" for check in result.checks if check.diagnosis
        )
        yield _row([inert(cell) for cell in [*row, mistakes, result.reason or ""]])


def _row(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def inert(cell: str) -> str:
    """A cell that a spreadsheet shows and does not compute: a name may begin like a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


@contextmanager
def _replaced(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of the one at ``path`` once it is whole."""
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
