"""What a grading run has on record of one submission, and the files that it was about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

import msgspec

from grading.confined.source import File
from grading.errors import refusal
from grading.results.attempts import attempts_of
from grading.results.lines import LINES, RUN, CheckLine, Result, decode_result
from grading.submissions.reading import digest, find_submissions, read_files
from harness.course.assignments import NAMES
from harness.course.settings import Settings
from harness.errors import UserError
from harness.show.visible import visible

SCHEMA = 1

Data = TypeVar("Data")


class Run(msgspec.Struct, frozen=True):
    """How the results were made: ``run.json``."""

    assignment: str
    seed: int
    settings: Settings
    versions: dict[str, str]
    missing: list[str] = []


@dataclass(frozen=True)
class Record:
    """A graded submission, its line in the results, and the checks of it that are asked about."""

    run: Run
    result: Result
    files: Sequence[File]
    checks: tuple[CheckLine, ...]


class _Missing(msgspec.Struct, frozen=True):
    missing: list[str] = []


class _Head(msgspec.Struct, frozen=True):
    schema: int
    submission: str = ""


def find_record(results: Path, name: str, folder: Path, checks: Sequence[str]) -> Record:
    """What the run in ``results`` has on record of ``name``, whose files are in ``folder``.

    ``checks`` names checks that did not pass; left empty, it is about all of those. Raises
    UserError for a record that cannot be read, that has no such submission or check, or that
    is of other files than those in the folder.
    """
    if not results.is_dir():
        raise UserError(
            f"{results} is not a folder: give the one that `backprop grade` wrote with --out."
        )
    run = read_run(results)
    result = _result(results / LINES, name)
    if result.assignment != run.assignment:
        raise UserError(
            f"{results / RUN} is of {visible(run.assignment)} and {LINES} of "
            f"{visible(result.assignment)}: they are not of one run."
        )
    asked = _asked(result, checks)
    return Record(run, result, _files(result, folder), asked)


def read_results(results: Path) -> list[Result]:
    """All lines of the run in ``results``. Raises UserError where one cannot be read."""
    return [result for _, result in each_line(results)]


def readable_results(results: Path) -> Iterator[Result | None]:
    """Yield what each line of the run in ``results`` says, and None for one that is damaged.

    Nothing comes where there are no lines. Raises UserError where they may not be read.
    """
    path = results / LINES
    try:
        with path.open("rb") as file:
            for line in file:
                try:
                    yield decode_result(line)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    yield None
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(refusal(error, path)) from None


def each_line(results: Path) -> Iterator[tuple[bytes, Result]]:
    """The lines of the run in ``results`` one by one, each as it stands there and as read.

    Raises UserError where one cannot be read, or where there is none.
    """
    path = results / LINES
    number = 0
    with _reading(path), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            what = f"line {number} of {path} is damaged"
            _judge_schema(_decoded(line, _Head, what), path)
            yield line, _decoded(line, Result, what)
    if not number:
        raise UserError(f"{path} is empty: grade something first.")


def read_missing(results: Path) -> list[str]:
    """Who is on the roster of the run in ``results`` and has handed nothing in."""
    path = results / RUN
    return _decoded(_bytes(path), _Missing, f"{path} is damaged").missing if path.exists() else []


def read_run(results: Path) -> Run:
    """How the run in ``results`` was made. Raises UserError where that cannot be read."""
    path = results / RUN
    data = _bytes(path)
    _judge_schema(_decoded(data, _Head, f"{path} is damaged"), path)
    run = _decoded(data, Run, f"{path} is damaged")
    if run.assignment not in NAMES:
        raise UserError(f"{path} is of {visible(run.assignment)}, which this version lacks.")
    return run


def _result(path: Path, name: str) -> Result:
    """The line of a submission. What is wrong with another one's is no reason to stop."""
    damaged = 0
    names: list[str] = []
    for number, line in enumerate(_bytes(path).splitlines(), 1):
        try:
            head = msgspec.json.decode(line, type=_Head)
        except msgspec.DecodeError:
            damaged = damaged or number
            continue
        if head.submission == name:
            _judge_schema(head, path)
            try:
                return decode_result(line)
            except msgspec.DecodeError as error:
                raise _damaged(f"line {number} of {path} is damaged", error) from None
        names.append(head.submission)
    what = f"{path} has no submission called {visible(name)}"
    if damaged:
        raise UserError(f"{what}, and its line {damaged} is damaged: grade again.")
    raise UserError(f"{what}: {hint(name, names)}")


def _asked(result: Result, ids: Sequence[str]) -> tuple[CheckLine, ...]:
    name = visible(result.submission)
    if result.status == "grader_error":
        raise UserError(f"The grader failed on {name}: run `backprop grade` again first.")
    if result.status == "undecided":
        raise UserError(f"The mark of {name} is open: {visible(result.reason or '')}")
    if result.status == "unreadable":
        raise UserError(
            f"No check was made of {name}, which has no usable code: {visible(result.reason or '')}"
        )
    known = {check.id: check for check in result.checks}
    failed = [check for check in result.checks if check.outcome in ("failed", "error")]
    if not failed:
        raise UserError(f"Every check of {name} passed: there is nothing to replay.")
    if not ids:
        return tuple(failed)
    for id in ids:
        _judge_asked(name, known.get(id), id, [check.id for check in failed], known)
    return tuple(known[id] for id in dict.fromkeys(ids))


def _judge_asked(
    name: str, check: CheckLine | None, id: str, failed: Sequence[str], known: Iterable[str]
) -> None:
    """Raises UserError for a check that there is nothing to say about."""
    those = f"What failed is {', '.join(failed)}."
    if check is None:
        raise UserError(f"No check of {name} is called {visible(id)}: {hint(id, known)} {those}")
    if check.outcome == "passed":
        raise UserError(f"{id} of {name} passed. {those}")
    if check.outcome == "not_run":
        raise UserError(f"{id} of {name} was not made: it waits for {check.waits_for}. {those}")


def _files(result: Result, folder: Path) -> list[File]:
    name = visible(result.submission)
    try:
        if not folder.is_dir():
            raise UserError(f"{folder} is not a folder: give the one that was graded.")
        entries = {entry.name: entry for entry in find_submissions(folder)}
        if result.submission not in entries:
            raise UserError(f"{folder} has no submission called {name}: give the graded folder.")
        entry = entries[result.submission]
        for attempt in result.attempts or ():
            if attempt.counts:
                parts = {each.name: each for each in attempts_of(entry, result.assignment)}
                entry = parts.get(f"{entry.name}/{attempt.attempt}", entry)
        files, reason = read_files(entry, result.assignment)
    except OSError as error:
        raise UserError(refusal(error, folder)) from None
    if digest(files, reason) != result.digest:
        raise UserError(
            f"The files of {name} in {folder} are not those that were graded: grade them again, or "
            "give a folder with the files as they were."
        )
    return files


def _bytes(path: Path) -> bytes:
    with _reading(path):
        return path.read_bytes()


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise UserError(
            f"{path.parent} has no {path.name}: give the folder that `backprop grade` wrote with "
            "--out."
        ) from None
    except OSError as error:
        raise UserError(refusal(error, path)) from None


def _decoded(data: bytes, kind: type[Data], what: str) -> Data:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise _damaged(what, error) from None


def _damaged(what: str, error: Exception) -> UserError:
    return UserError(f"{what[:1].upper()}{what[1:]} ({error}): grade again.")


def _judge_schema(head: _Head, path: Path) -> None:
    if head.schema != SCHEMA:
        raise UserError(
            f"{path} is of schema {head.schema} and this version reads {SCHEMA}: use the version "
            "of backprop-harness that wrote it."
        )


def hint(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not among those known."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {visible(near[0])}?" if near else "is it spelled right?"
