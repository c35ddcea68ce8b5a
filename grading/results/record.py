"""What a grading run has on record of one submission, and the files that it graded."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar, overload

import msgspec

from grading.errors import refusals
from grading.parsing.source import File
from grading.results.attempts import attempts_of
from grading.results.lines import LINES, RUN, Result, decode_result
from grading.submissions.intake import take_in
from grading.submissions.opening import opened
from grading.submissions.reading import Entry, digest, read_files
from harness.course.assignments import assignment_names
from harness.course.report import Check
from harness.course.settings import Settings
from harness.drawing.visible import visible
from harness.errors import UserError

SCHEMA = 1

Data = TypeVar("Data")


class Run(msgspec.Struct, frozen=True):
    """How the results were made: ``run.json``."""

    assignment: str
    seed: int
    settings: Settings
    versions: dict[str, str]
    missing: list[str] = []
    as_root: bool = False
    platform: str = ""
    shard: str = ""


@dataclass(frozen=True)
class Record:
    """A graded submission, its line in the results, and the checks to look at."""

    run: Run
    result: Result
    files: Sequence[File]
    checks: tuple[Check, ...]


class _Head(msgspec.Struct, frozen=True):
    schema: int
    submission: str = ""


def find_record(results: Path, name: str, folder: Path, checks: Sequence[str]) -> Record:
    """Return what the run in ``results`` has on record of ``name``, whose files are in ``folder``.

    ``checks`` are ids of checks that did not pass; all of those if it is empty. Raise UserError if
    the record cannot be read, has no such submission or check, or is about other files.
    """
    run = read_run(results)
    result = _result(results / LINES, name)
    if result.assignment != run.assignment:
        raise UserError(
            f"{results / RUN} is for {visible(run.assignment)} and {LINES} for "
            f"{visible(result.assignment)}: these files come from different runs."
        )
    asked = _asked(result, checks)
    return Record(run, result, _files(result, folder), asked)


class LazyResults(Sequence[Result]):
    """Results in the order of their names, each read when it is needed.

    ``read``, which is their ``named``, returns the result of the submission with a name.
    """

    def __init__(self, names: Iterable[str], read: Callable[[str], Result]) -> None:
        self.names = sorted(names)
        self.named = read

    @overload
    def __getitem__(self, at: int) -> Result: ...
    @overload
    def __getitem__(self, at: slice) -> list[Result]: ...
    def __getitem__(self, at: int | slice) -> Result | list[Result]:
        if isinstance(at, slice):
            return list(map(self.named, self.names[at]))
        return self.named(self.names[at])

    def __len__(self) -> int:
        return len(self.names)


def read_results(
    results: Path,
    as_: Callable[[Result], Result] = lambda result: result,
    *,
    may_be_empty: bool = False,
) -> LazyResults:
    """Return the results of the run in ``results``, as what ``as_`` makes of them.

    All are read once, and again when they are needed, so that few are in memory at any time. Raise
    UserError if one cannot be read, or there is none and it may not be empty.
    """
    return _lazily(results / LINES, each_line(results, may_be_empty=may_be_empty), as_)


def readable_results(results: Path) -> tuple[LazyResults, int]:
    """Return the results of the run in ``results``, and the number of damaged lines.

    There are none if there is no such file. Raise UserError if it cannot be read.
    """
    damaged = 0

    def lines() -> Iterator[tuple[bytes, Result | None]]:
        nonlocal damaged
        for line in _lines(path) if path.exists() else ():
            try:
                yield line, decode_result(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                damaged += 1
                yield line, None

    path = results / LINES
    return _lazily(path, lines(), lambda result: result), damaged


def _lazily(
    path: Path, lines: Iterable[tuple[bytes, Result | None]], as_: Callable[[Result], Result]
) -> LazyResults:
    places: dict[str, tuple[int, int]] = {}
    start = 0
    for line, result in lines:
        if result is not None:
            places[result.submission] = start, len(line)
        start += len(line)

    def read(name: str) -> Result:
        start, length = places[name]
        with refusals(path), path.open("rb") as file:
            file.seek(start)
            return as_(decode_result(file.read(length)))

    return LazyResults(places, read)


def each_line(results: Path, *, may_be_empty: bool = False) -> Iterator[tuple[bytes, Result]]:
    """Yield each line of the run in ``results``, as bytes and as a result.

    Raise UserError if one cannot be read, or there is none and it may not be empty.
    """
    path = results / LINES
    number = 0
    for number, line in enumerate(_lines(path), 1):
        yield line, _decoded(line, Result, path, f"Line {number} of {path}")
    if not number and not may_be_empty:
        raise UserError(f"{path} is empty: grade something first.")


def read_run(results: Path) -> Run:
    """Return how the run in ``results`` was made. Raise UserError if that cannot be read."""
    path = results / RUN
    run = _decoded(b"".join(_lines(path)), Run, path, str(path))
    if run.assignment not in assignment_names():
        raise UserError(
            f"{path} is for assignment {visible(run.assignment)}, which is neither in this version "
            "nor in the course: name the course's folder with --course."
        )
    return run


def _result(path: Path, name: str) -> Result:
    """Return the result of one submission, whatever is wrong with the lines of others."""
    damaged = 0
    names: list[str] = []
    for number, line in enumerate(_lines(path), 1):
        try:
            head = msgspec.json.decode(line, type=_Head)
        except (msgspec.DecodeError, UnicodeDecodeError):
            damaged = damaged or number
            continue
        if head.submission == name:
            return _decoded(line, Result, path, f"Line {number} of {path}")
        names.append(head.submission)
    what = f"{path} has no submission called {visible(name)}"
    if damaged:
        raise UserError(f"{what}, and its line {damaged} is damaged: grade again.")
    raise UserError(f"{what}: {hint(name, names)}")


def _asked(result: Result, ids: Sequence[str]) -> tuple[Check, ...]:
    name, reason = visible(result.submission), visible(result.reason or "")
    if result.status == "grader_error":
        raise UserError(f"The grader failed on {name}: run `backprop grade` again first.")
    if result.status == "undecided":
        raise UserError(f"The mark of {name} is open: {reason}")
    if result.status == "unreadable":
        raise UserError(f"{name} was not checked because it has no usable code: {reason}")
    known = {check.id: check for check in result.checks}
    failed = [check for check in result.checks if check.outcome in ("failed", "error")]
    if not failed:
        raise UserError(f"Every check of {name} passed: there is nothing to replay.")
    those = f"The failed checks are: {', '.join(check.id for check in failed)}."
    for id in ids:
        if (check := known.get(id)) is None:
            raise UserError(f"{name} has no check called {visible(id)}: {hint(id, known)} {those}")
        if check.outcome == "passed":
            raise UserError(f"{id} of {name} passed. {those}")
        if check.outcome == "not_run":
            raise UserError(f"{id} of {name} was not run: it waits for {check.waits_for}. {those}")
    return tuple(known[id] for id in dict.fromkeys(ids)) or tuple(failed)


def _files(result: Result, folder: Path) -> list[File]:
    name = visible(result.submission)
    with refusals(folder), opened(folder) as (inside, was_zip):
        if not inside.is_dir():
            raise UserError(f"{folder} is not a folder or zip: give the one that was graded.")
        if (entry := _entry(result, inside, was_zip=was_zip)) is None:
            raise UserError(f"{folder} has no submission called {name}: give the graded folder.")
        files, reason = read_files(entry, result.assignment)
    if digest(files, reason) != result.digest:
        raise UserError(
            f"The files of {name} in {folder} are not the ones that were graded: grade them again, "
            "or give a folder with the original files."
        )
    return files


def _entry(result: Result, folder: Path, *, was_zip: bool) -> Entry | None:
    """Return where the files of a result are, if the folder has them."""
    if result.files:
        # Whose they are took a roster to know.
        paths = [folder / path for path in result.files.values()]
        if not all(path.resolve().is_relative_to(folder.resolve()) for path in paths):
            return None
        return Entry(result.submission, tuple(map(str, paths)), names=tuple(result.files))
    found = take_in(folder, result.assignment, was_zip=was_zip).entries
    entry = next((each for each in found if each.name == result.submission), None)
    for attempt in result.attempts or ():
        if entry and attempt.counts:
            parts = {each.name: each for each in attempts_of(entry, result.assignment)}
            entry = parts.get(f"{entry.name}/{attempt.attempt}", entry)
    return entry


def _lines(path: Path) -> Iterator[bytes]:
    with refusals(path):
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise UserError(
                f"{path.parent} has no {path.name}: give the folder that `backprop grade` wrote "
                "with --out."
            ) from None
        with file:
            yield from file


def _decoded(data: bytes, kind: type[Data], path: Path, what: str) -> Data:
    """Return the data in ``path``, called ``what`` if damaged. Another schema is told first."""
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.schema != SCHEMA:
            raise UserError(
                f"{path} has schema {head.schema}, and this version reads schema {SCHEMA}: use the "
                "version of backprop-harness that wrote it."
            )
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{what} is damaged ({error}): grade again.") from None


def hint(name: str, known: Iterable[str], otherwise: str = "check the spelling.") -> str:
    """Return what to say about a name that is not among the ``known`` ones."""
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {visible(near[0])}?" if near else otherwise
