"""What a grading run writes: one line a submission, a table of marks, and how the run was made."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import accumulate, pairwise
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from harness.course.report import Report
from harness.show.visible import visible

LINES, GRADES, RUN = "results.jsonl", "grades.csv", "run.json"

Status = Literal["graded", "unreadable", "undecided", "grader_error"]
# There is no mark yet: the instructor has to decide, or the grader failed.
OPEN: tuple[Status, ...] = ("undecided", "grader_error")


class CheckLine(msgspec.Struct, frozen=True):
    """One check of a result, as `harness.course.report.Check` describes it."""

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


class Given(msgspec.Struct, frozen=True):
    """Points that an instructor gave, and why. ``stale``: the files have changed since."""

    points: float
    reason: str
    stale: bool = False


class Overridden(msgspec.Struct, frozen=True):
    """What an instructor gave in place of the automatic marks, and the mark that comes of it.

    ``whole`` stands for all of the submission, ``checks`` for single ones, by their ids.
    """

    score: float | None
    whole: Given | None = None
    checks: dict[str, Given] = {}


class AttemptLine(msgspec.Struct, frozen=True):
    """One of several attempts of a student; the result's checks are of the one that counts."""

    attempt: str
    status: Status
    score: float | None
    digest: str
    counts: bool


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A line of ``results.jsonl``. ``score`` is None where ``status`` is one of ``OPEN``.

    ``reason`` tells the student, ``staff`` the instructor, why there are no checks. ``override``
    and ``attempts`` are there only where an instructor gave points, or a student tried more than
    once; ``score`` and the points of checks are the automatic ones always.
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
    override: Overridden | UnsetType = UNSET
    attempts: list[AttemptLine] | UnsetType = UNSET

    @property
    def mark(self) -> float | None:
        """The score that counts: the instructor's where there is one."""
        return self.override.score if self.override else self.score


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


def checks_told(result: Result) -> list[CheckLine]:
    """The checks of a result; where there are none, one that says why, for whoever needs one."""
    if result.checks:
        return result.checks
    outcome: Literal["failed", "error"] = "failed"
    if result.status in OPEN:
        outcome = "error"
    reason, mark = result.reason or "", result.mark or 0.0
    title = "the submission can be judged"
    return [
        CheckLine(
            *(result.status, None, title, outcome, mark, result.max_score),
            *(None, reason, result.staff, None, None),
        )
    ]


def as_marked(result: Result) -> Result:
    """The result with the points that count in the place of the automatic ones.

    An instructor's mark for the whole submission is spread over the checks by what they are worth.
    """
    if not result.override:
        return result
    given = {id: each.points for id, each in result.override.checks.items()}
    if result.override.whole:
        parts = shares(result.override.whole.points, [check.max_points for check in result.checks])
        given = {check.id: part for check, part in zip(result.checks, parts, strict=True)}
    checks = [
        msgspec.structs.replace(check, points=given.get(check.id, check.points))
        for check in result.checks
    ]
    return msgspec.structs.replace(result, score=result.mark, checks=checks)


def shares(total: float, weights: Sequence[float]) -> list[float]:
    """The total in parts that are as the weights are, and that add up to it."""
    whole = math.fsum(weights) or 1.0
    upto = [round(total * sum_ / whole, 4) for sum_ in accumulate(weights, initial=0.0)]
    upto[-1] = total
    return [round(above - below, 9) for below, above in pairwise(upto)]


def publish(folder: Path, results: Collection[Result], run: dict[str, Any]) -> None:
    """Writes ``results.jsonl``, ``grades.csv`` and ``run.json``, each replaced in one step.

    The results are in the order of their names; no more than one at a time is held in memory.
    Whom ``run["missing"]`` names have a row in the table, and no mark.
    """
    with replaced(folder / LINES) as file:
        file.writelines(encode_result(result) + b"\n" for result in results)
    with replaced(folder / GRADES) as file:
        file.writelines(row.encode("utf-8") for row in _grades(results, run.get("missing", ())))
    with replaced(folder / RUN) as file:
        file.write(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")


def _grades(results: Collection[Result], missing: Iterable[str]) -> Iterator[str]:
    """The rows of a table: submissions with points of each check and mistakes, then the missing."""
    ids = next(([check.id for check in each.checks] for each in results if each.checks), [])
    head = ["submission", "status", "score", "max_score", *ids, "mistakes", "reason"]
    yield _row([*head, "automatic", "override", "attempt"])
    for result in results:
        yield _row([inert(cell) for cell in _cells(result, ids)])
    for name in missing:
        yield _row([inert(name), "missing", *[""] * (len(ids) + 7)])


def _cells(result: Result, ids: Sequence[str]) -> list[str]:
    """A row of the table: the points that count, and what they would be by themselves."""
    marked = as_marked(result)
    points = {check.id: f"{check.points:g}" for check in marked.checks}
    mistakes = " ".join(
        f"{check.id}:{check.diagnosis['mistake']}" for check in result.checks if check.diagnosis
    )
    counts = [each.attempt for each in result.attempts or () if each.counts]
    return [
        *(result.submission, result.status, _number(marked.score), f"{result.max_score:g}"),
        *(points.get(id, "") for id in ids),
        *(mistakes, result.reason or ""),
        *((_number(result.score), override_text(result)) if result.override else ("", "")),
        *(counts or [""]),
    ]


def _number(score: float | None) -> str:
    return "" if score is None else f"{score:g}"


def override_text(result: Result) -> str:
    """What the instructor gave, and why, in words; empty where nothing was given."""
    if not result.override:
        return ""
    given = dict(result.override.checks)
    if result.override.whole:
        given = {"all": result.override.whole}
    changed = " (the files have changed since)"
    return "; ".join(
        f"{what}: {each.points:g}, {each.reason}{changed if each.stale else ''}"
        for what, each in given.items()
    )


def _row(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def inert(cell: str) -> str:
    """A cell that a spreadsheet shows and does not compute: a name may begin like a formula.

    What would hide in it is written out.
    """
    formula = cell[:1] in ("=", "+", "-", "@", "\t", "\r")
    return f"'{visible(cell)}" if formula else visible(cell)


@contextmanager
def replaced(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """A file to write, which takes the place of the one at ``path`` once it is whole.

    Where that fails, on a full disk for instance, nothing of it stays behind.
    """
    temporary = unfinished(path)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def unfinished(path: Path) -> Path:
    """Return what a file is called until it is whole; a killed run can leave one behind."""
    return path.with_name(f".{path.name}.new")
