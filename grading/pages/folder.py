"""The folder of a report: made of a run's results, changed where they have changed, kept whole.

A file is replaced in one step, and pages that link to others are written after them: at any moment,
even after a kill, pages are whole and their links work.
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from grading.pages.names import page_address
from grading.pages.overview import Mistake, Overview
from grading.pages.packs import ADDRESS, PACKS, VIEWER, Pages, pack_at, packed, unpacked
from grading.pages.viewer import viewer_page
from grading.results.lines import LINES, decode_result, replaced
from grading.results.record import Run, each_line, read_run
from harness.course.assignments import declaration_digest, source_of
from harness.errors import UserError

REPORT, INDEX = "report", "index.html"
# Lists what this made, and of what; all other files in the folder are kept.
MANIFEST = ".pages.json"
CHUNK = 50
# Where earlier versions had each page in a file of its own.
LOOSE = ("students", "staff")
_LOOSE = re.compile(r"[a-z0-9_][a-z0-9_.-]*\.html")
_PACK = re.compile(r"[0-9a-f]{2}\.js")

Place = tuple[int, int]
# Starts up to so many processes that can render pages.
Executors = Callable[[int], AbstractContextManager[Executor]]


class _Manifest(msgspec.Struct):
    """The key of each submission's pages by their address, and that of the page of the class.

    Earlier versions wrote the names of files in place of addresses.
    """

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
        (folder / PACKS).mkdir(parents=True, exist_ok=True)
        manifest = _read_manifest(folder)
        _remove_unfinished(folder)
        overview, keys, places = _wanted(out, run)
        there = {path.stem for path in (folder / PACKS).iterdir()}
        stale = {
            address
            for address, key in keys.items()
            if manifest.pages.get(address) != key or address.partition("/")[0] not in there
        }
        index = _digest(*keys.values())
        whole = all((folder / name).is_file() for name in (INDEX, VIEWER))
        if stale or manifest.index != index or not whole:
            # First on record: what is made, but not finished, is never taken for somebody else's.
            begun = _Manifest("", manifest.pages | dict.fromkeys(stale, ""))
            _replace(folder / MANIFEST, msgspec.json.encode(begun))
            with executors(min(len(stale) // CHUNK + 1, 64)) as executor:
                list(executor.map(partial(write_packs, out.resolve(), run), _tasks(places, stale)))
                _replace(folder / VIEWER, viewer_page().encode())
                _make_index(executor, folder, overview)
        _remove(folder, manifest.pages.keys() - keys.keys())
        _replace(folder / MANIFEST, msgspec.json.encode(_Manifest(index, keys)))
    return folder / INDEX


@dataclass(frozen=True)
class Task:
    """A pack to write: where the lines of all of its submissions stand, and whose pages to make.

    Both are by the pages' keys in it.
    """

    pack: str
    places: dict[str, Place]
    stale: set[str]


def _tasks(places: Mapping[str, Place], stale: Collection[str]) -> list[list[Task]]:
    """Return the packs that are to change, some at a time, with pages enough to make in each."""
    packs: dict[str, Task] = {}
    for address, place in places.items():
        name, _, key = address.partition("/")
        task = packs.setdefault(name, Task(name, {}, set()))
        task.places[key] = place
        if address in stale:
            task.stale.add(key)
    tasks: list[list[Task]] = []
    room = 0
    for task in packs.values():
        if not task.stale:
            continue
        if room <= 0:
            tasks.append([])
            room = CHUNK
        tasks[-1].append(task)
        room -= len(task.stale)
    return tasks


def _wanted(out: Path, run: Run) -> tuple[Overview, dict[str, str], dict[str, Place]]:
    """Return what the results ask for: the class, the pages' keys, and where the lines stand.

    Both are by the address of the pages.
    """
    overview, keys, places = Overview(run), {}, {}
    declared = declaration_digest(source_of(run.assignment))
    made_of = repr(run.settings), repr(sorted(run.versions.items())), declared, _own_source()
    shared = _digest(*made_of)
    start = 0
    for line, result in each_line(out):
        address = page_address(result.submission)
        keys[address] = _digest(shared, str(out.resolve()), line)
        places[address] = start, len(line)
        overview.add(result)
        start += len(line)
    return overview, keys, places


def write_packs(out: Path, run: Run, tasks: Sequence[Task]) -> None:
    """Write packs; pages in them that need no change are kept, for now also of who is gone.

    Loads torch.
    """
    from grading.pages.staff import staff_page
    from grading.pages.student import student_page

    with (out / LINES).open("rb") as file:
        for task in tasks:
            path = pack_at(out / REPORT, task.pack)
            pages = unpacked(path)
            for key, (start, length) in task.places.items():
                if key in pages and key not in task.stale:
                    continue
                file.seek(start)
                result = decode_result(file.read(length))
                pages[key] = Pages(staff_page(result, out), student_page(result, run.settings))
            _replace(path, packed(task.pack, pages))


def _remove(folder: Path, gone: Collection[str]) -> None:
    """Remove pages by their address, and those that earlier versions made, by their file's name."""
    packs: dict[str, list[str]] = {}
    for address in gone:
        if _LOOSE.fullmatch(address):
            for part in LOOSE:
                (folder / part / address).unlink(missing_ok=True)
        elif match := ADDRESS.fullmatch(address):
            packs.setdefault(match[1], []).append(match[2])
    for part in LOOSE:
        with contextlib.suppress(OSError):
            (folder / part).rmdir()
    for name, keys in packs.items():
        path = pack_at(folder, name)
        left = {key: page for key, page in unpacked(path).items() if key not in keys}
        if left:
            _replace(path, packed(name, left))
        else:
            path.unlink(missing_ok=True)


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
        if name == MANIFEST or _LOOSE.fullmatch(name) or _PACK.fullmatch(name):
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
