"""What a grading run writes: a line for each submission, a table of marks, and run.json."""

import csv
import io
import math
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path
from typing import IO, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from harness.course.report import Advice, Check, Flag, Report
from harness.drawing.visible import visible

LINES, GRADES, RUN = "results.jsonl", "grades.csv", "run.json"

Status = Literal["graded", "unreadable", "undecided", "grader_error"]
# No mark yet: the instructor has to decide, or the grader failed.
OPEN: tuple[Status, ...] = ("undecided", "grader_error")


class Seconds(msgspec.Struct, frozen=True):
    """How long grading a submission took: wall-clock and processor time."""

    wall: float
    cpu: float


class Given(msgspec.Struct, frozen=True):
    """Points that an instructor gave, and why; ``stale`` if the files have changed since."""

    points: float
    reason: str
    stale: bool = False


class Overridden(msgspec.Struct, frozen=True):
    """What an instructor gave in place of the automatic marks, and the resulting mark.

    ``whole`` is for the whole submission, ``checks`` for single checks, by id.
    """

    score: float | None
    whole: Given | None = None
    checks: dict[str, Given] = {}


class Attempt(msgspec.Struct, frozen=True):
    """One of several attempts by a student; the result's checks are from the one that counts."""

    attempt: str
    status: Status
    score: float | None
    digest: str
    counts: bool


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """A line of ``results.jsonl``. ``score`` is None if ``status`` is one of ``OPEN``.

    ``reason`` tells the student, ``staff`` the instructor, why there are no checks. ``override``
    is present only if an instructor gave points, ``attempts`` only if there are several, ``file``,
    which was graded, only if several could be; ``score`` and the points of checks are always the
    automatic ones.

    ``students`` are those on the roster or in the download's names whose it is, ``files`` where a
    download has the files under other names than the students', ``time`` when they were handed in
    (ISO 8601), and ``late`` by how many hours, minutes and seconds that was late. Each is present
    only if it is known.
    """

    schema: Literal[1] = 1
    submission: str
    assignment: str
    status: Status
    reason: str | None = None
    staff: str = ""
    score: float | None
    max_score: float
    checks: list[Check] = []
    advice: list[Advice] = []
    flags: list[Flag] = []
    digest: str
    seconds: Seconds
    override: Overridden | UnsetType = UNSET
    attempts: list[Attempt] | UnsetType = UNSET
    file: str | UnsetType = UNSET
    students: list[str] | UnsetType = UNSET
    files: dict[str, str] | UnsetType = UNSET
    time: str | UnsetType = UNSET
    late: str | UnsetType = UNSET

    @property
    def mark(self) -> float | None:
        """The score that counts: the instructor's if there is one."""
        return self.override.score if self.override else self.score


# A result and its line, without the newline; msgspec.DecodeError is raised for anything else.
encode_result = msgspec.json.Encoder().encode
decode_result = msgspec.json.Decoder(Result).decode


def report_of(result: Result) -> Report:
    """Return the judgement that a result records."""
    return Report(
        result.assignment, tuple(result.checks), tuple(result.advice), tuple(result.flags)
    )


def checks_told(result: Result) -> list[Check]:
    """Return the checks of a result or, if there are none, one that says why."""
    if result.checks:
        return result.checks
    return [
        Check(
            id=result.status,
            stage=None,
            title="the submission can be judged",
            outcome="error" if result.status in OPEN else "failed",
            points=result.mark or 0.0,
            max_points=result.max_score,
            message=result.reason or "",
            staff=result.staff,
        )
    ]


def mistakes_of(result: Result) -> list[tuple[str, str, str, str]]:
    """Return the mistakes of a submission, once each: stage, gradient, name and formula."""
    found = (
        (
            check.stage or "",
            check.diagnosis.gradient.removeprefix("grad_"),
            check.diagnosis.mistake,
            check.diagnosis.formula,
        )
        for check in result.checks
        if check.diagnosis
    )
    return list(dict.fromkeys(found))


def as_marked(result: Result) -> Result:
    """Return the result with the points that count in place of the automatic ones.

    An instructor's mark for the whole submission is spread over the checks by what they are worth.
    """
    if not result.override:
        return result
    given = {id: each.points for id, each in result.override.checks.items()}
    if result.override.whole:
        parts = shares(result.override.whole.points, [check.max_points for check in result.checks])
        given = {check.id: part for check, part in zip(result.checks, parts, strict=True)}
    checks = [replace(check, points=given.get(check.id, check.points)) for check in result.checks]
    return msgspec.structs.replace(result, score=result.mark, checks=checks)


def shares(total: float, weights: Sequence[float]) -> list[float]:
    """Return the total in parts proportional to the weights, which add up to it exactly."""
    whole = math.fsum(weights) or 1.0
    upto = [round(total * sum_ / whole, 4) for sum_ in accumulate(weights, initial=0.0)]
    upto[-1] = total
    return [round(above - below, 9) for below, above in pairwise(upto)]


def publish(folder: Path, results: Collection[Result], run: dict[str, Any]) -> None:
    """Write ``results.jsonl``, ``grades.csv`` and ``run.json``, each replaced in one step.

    The results are in the order of their names; only one at a time is held in memory, and all are
    read before a file is replaced, so that they may come from the files themselves. Students in
    ``run["missing"]`` have a row without a mark in the table.
    """
    with (
        replaced(folder / RUN) as facts,
        replaced(folder / GRADES) as grades,
        replaced(folder / LINES) as lines,
    ):
        facts.write(msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n")
        lines.writelines(encode_result(result) + b"\n" for result in results)
        table = io.TextIOWrapper(grades, encoding="utf-8", newline="")
        csv.writer(table, lineterminator="\n").writerows(_grades(results, run.get("missing", ())))
        table.detach()


def _grades(results: Collection[Result], missing: Iterable[str]) -> Iterator[list[str]]:
    """Yield the rows of the table: the header, the submissions, then the missing students."""
    ids = next(([check.id for check in each.checks] for each in results if each.checks), [])
    head = ["submission", "status", "score", "max_score", *ids, "mistakes", "reason"]
    yield [*head, "automatic", "override", "attempt", "students", "time", "late"]
    for result in results:
        yield [inert(cell) for cell in _cells(result, ids)]
    for name in missing:
        yield [inert(name), "missing", *[""] * (len(ids) + 10)]


def _cells(result: Result, ids: Sequence[str]) -> list[str]:
    """Return a row of the table: the points that count, and the automatic ones if they differ."""
    marked = as_marked(result)
    points = {check.id: f"{check.points:g}" for check in marked.checks}
    mistakes = " ".join(
        f"{check.id}:{check.diagnosis.mistake}" for check in result.checks if check.diagnosis
    )
    counts = [each.attempt for each in result.attempts or () if each.counts]
    return [
        *(result.submission, result.status, mark_cell(marked.score), f"{result.max_score:g}"),
        *(points.get(id, "") for id in ids),
        *(mistakes, result.reason or ""),
        *((mark_cell(result.score), override_text(result)) if result.override else ("", "")),
        *(counts or [""]),
        *("; ".join(result.students or ()), result.time or "", result.late or ""),
    ]


def mark_cell(score: float | None) -> str:
    """Return a mark as the cell of a table, empty if it is open."""
    return "" if score is None else f"{score:g}"


def override_text(result: Result) -> str:
    """Return what the instructor gave, and why, in words, or ""."""
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


def inert(cell: str) -> str:
    """Return a cell that a spreadsheet shows rather than computes: a name may look like a formula.

    Invisible characters in it are written out.
    """
    sign = "'" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else ""
    return sign + visible(cell)


@contextmanager
def replaced(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """Yield a file to write, which replaces the one at ``path`` once it is complete.

    If that fails, for example on a full disk, nothing of it is left behind.
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
    """Return what a file is called until it is complete; a killed run can leave one behind."""
    return path.with_name(f".{path.name}.new")
