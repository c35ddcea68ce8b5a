"""The folder of a report: made of a run's results, changed where they have changed, kept whole.

A page is replaced in one step, and pages that link to others are written after them: at any moment,
even after a kill, pages are whole and their links work.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import msgspec

from grading.pages.names import page_name
from grading.pages.overview import Mistake, Overview
from grading.results.lines import LINES, decode_result, replaced
from grading.results.record import Run, each_line, read_run
from harness.course.assignments import declaration_digest, source_of
from harness.errors import UserError

REPORT, INDEX, STUDENTS, STAFF = "report", "index.html", "students", "staff"
# Lists what this made, and of what; all other files in the folder are kept.
MANIFEST = ".pages.json"
CHUNK = 50
_OWN = re.compile(r"[a-z0-9_][a-z0-9_.-]*\.html")

Place = tuple[int, int]
# Starts up to so many processes that can render pages.
Executors = Callable[[int], AbstractContextManager[Executor]]


class _Manifest(msgspec.Struct):
    """The key of each submission's pages by their file name, and that of the page of the class."""

    index: str = ""
    pages: dict[str, str] = {}


def make_report(out: Path, executors: Executors) -> Path:
    """Make the report on the run in ``out``, or bring it up to date; return its first page.

    This process needs no torch; the ones that ``executors`` starts do, and are started only where
    a page has to be made. Raise UserError if the results cannot be read or the report cannot
    be written.
    """
    run = read_run(out)
    folder = out / REPORT
    with _writing(folder):
        for part in (STUDENTS, STAFF):
            (folder / part).mkdir(parents=True, exist_ok=True)
        manifest = _read_manifest(folder)
        _remove_unfinished(folder)
        overview, keys, places = _wanted(out, run)
        there = [{path.name for path in (folder / part).iterdir()} for part in (STUDENTS, STAFF)]
        stale = [
            name
            for name, key in keys.items()
            if manifest.pages.get(name) != key or not all(name in names for names in there)
        ]
        index = _digest(*keys.values())
        if stale or manifest.index != index or not (folder / INDEX).is_file():
            # First on record: what is made, but not finished, is never taken for somebody else's.
            begun = _Manifest("", manifest.pages | dict.fromkeys(stale, ""))
            _replace(folder / MANIFEST, msgspec.json.encode(begun))
            with executors(min(len(stale) // CHUNK + 1, 64)) as executor:
                wanted = [places[name] for name in stale]
                chunks = [wanted[at : at + CHUNK] for at in range(0, len(wanted), CHUNK)]
                list(executor.map(partial(write_pages, out.resolve(), run), chunks))
                _make_index(executor, folder, overview)
        for name in filter(_OWN.fullmatch, manifest.pages.keys() - keys.keys()):
            for part in (STUDENTS, STAFF):
                (folder / part / name).unlink(missing_ok=True)
        _replace(folder / MANIFEST, msgspec.json.encode(_Manifest(index, keys)))
    return folder / INDEX


def _wanted(out: Path, run: Run) -> tuple[Overview, dict[str, str], dict[str, Place]]:
    """Return what the results ask for: the class, the pages' keys, and where the lines stand."""
    overview, keys, places = Overview(run), {}, {}
    declared = declaration_digest(source_of(run.assignment))
    made_of = repr(run.settings), repr(sorted(run.versions.items())), declared, _own_source()
    shared = _digest(*made_of)
    start = 0
    for line, result in each_line(out):
        name = page_name(result.submission)
        keys[name] = _digest(shared, str(out.resolve()), line)
        places[name] = start, len(line)
        overview.add(result)
        start += len(line)
    return overview, keys, places


def write_pages(out: Path, run: Run, places: Sequence[Place]) -> None:
    """Write both pages of each submission whose line is at one of the places. Loads torch."""
    from grading.pages.staff import staff_page
    from grading.pages.student import student_page

    with (out / LINES).open("rb") as file:
        for start, length in places:
            file.seek(start)
            result = decode_result(file.read(length))
            name = page_name(result.submission)
            _replace(out / REPORT / STUDENTS / name, student_page(result, run.settings).encode())
            _replace(out / REPORT / STAFF / name, staff_page(result, out).encode())


def _make_index(executor: Executor, folder: Path, overview: Overview) -> None:
    common = overview.common()
    title, formulas = executor.submit(set_in_words, overview.run.assignment, common).result()
    _replace(folder / INDEX, overview.page(title, formulas).encode())


def set_in_words(assignment: str, mistakes: Sequence[Mistake]) -> tuple[str, list[str]]:
    """Return the title of an assignment, and the formulas of mistakes as HTML. Loads torch."""
    from grading.pages.mathematics import set_formula
    from harness.course.assignments import load_assignment

    formulas = [str(set_formula(assignment, stage, formula)) for stage, _, _, formula in mistakes]
    return load_assignment(assignment).title, formulas


def _read_manifest(folder: Path) -> _Manifest:
    """Return what an earlier run made here; nothing where that is unknown."""
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=_Manifest)
    return _Manifest()


def _replace(path: Path, data: bytes) -> None:
    with replaced(path, sync=False) as file:
        file.write(data)


def _remove_unfinished(folder: Path) -> None:
    """Remove what a killed run had begun to write. Other files that look similar stay."""
    for path in (*folder.glob(".*.new"), *folder.glob("*/.*.new")):
        name = path.name[1:-4]
        if name == MANIFEST or _OWN.fullmatch(name):
            path.unlink(missing_ok=True)


def _digest(*parts: str | bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        # A path may hold bytes that are not UTF-8.
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8) + data)
    return total.hexdigest()[:32]


def _own_source() -> str:
    """Return a digest of what makes pages: a checkout changes without a new version."""
    pages = Path(__file__).parent
    harness = pages.parent.parent / "harness"
    found = [*pages.rglob("*.*"), *harness.rglob("*.*")]
    return _digest(*(path.read_bytes() for path in sorted(found) if path.suffix != ".pyc"))


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    again = f"the marks are safe, and `backprop report {folder.parent}` makes it again"
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise UserError(
            f"The report is not made, as {where} cannot be written ({error.strerror}): {again}."
        ) from None
    except BrokenProcessPool:
        raise UserError(f"The processes that make the report in {folder} died: {again}.") from None
