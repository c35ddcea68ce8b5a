"""What a grading run writes: one line a submission, a table of marks, and how the run was made."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

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


def publish(folder: Path, results: Sequence[Result], run: dict[str, Any]) -> None:
    """Writes ``results.jsonl``, ``grades.csv`` and ``run.json``, each replaced in one step."""
    ordered = sorted(results, key=lambda result: result.submission)
    lines = b"".join(encode_result(result) + b"\n" for result in ordered)
    _replace(folder / "results.jsonl", lines)
    _replace(folder / "grades.csv", _grades(ordered).encode("utf-8"))
    _replace(folder / "run.json", msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")


def _grades(results: Sequence[Result]) -> str:
    """A table with a row a submission: the mark, then the points of each check."""
    ids = next(([check.id for check in each.checks] for each in results if each.checks), [])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["submission", "status", "score", "max_score", *ids, "reason"])
    for result in results:
        points = {check.id: f"{check.points:g}" for check in result.checks}
        score = "" if result.score is None else f"{result.score:g}"
        row = [result.submission, result.status, score, f"{result.max_score:g}"]
        row += [points.get(id, "") for id in ids]
        table.writerow([_inert(cell) for cell in [*row, result.reason or ""]])
    return text.getvalue()


def _inert(cell: str) -> str:
    """A cell that a spreadsheet shows and does not compute: a name may begin like a formula."""
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
