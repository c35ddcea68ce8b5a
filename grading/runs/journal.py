"""What a run has finished, line by line on disk, so that the next run goes on from there.

A line is on disk before its submission counts as finished, and a kill at any moment costs the last
line at most. What is read back is checked, and each damaged line costs its own submission only.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from grading.results.lines import OPEN, Result, decode_result, encode_result, replaced
from grading.sandbox import Isolation
from grading.workers.jobs import Job

if sys.platform != "win32":
    import fcntl

FILE = "journal.jsonl"
LOCK = ".lock"
# A crash of the whole machine costs the work of so long.
SYNC_SECONDS = 1.0


class Busy(Exception):
    """Another run is writing to the same folder."""


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Keeps other runs out of the folder, until this process leaves the block or dies.

    Raises Busy where another one is in it, and OSError where the folder cannot be locked.
    """
    with (folder / LOCK).open("ab") as file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Busy from None
        yield


class Keys:
    """Makes the key that a finished submission is known by: it covers all that its mark rests on,
    the harness's own source too, as a checkout changes without a new version."""

    def __init__(self, job: Job, versions: Mapping[str, str]) -> None:
        # Which of several attempts counts changes none of their marks.
        settings = {
            key: value for key, value in job.settings.as_dict().items() if key != "attempts"
        }
        shared = [job.assignment, settings, job.seed, dict(versions), _own_source()]
        self._shared = hashlib.sha256(msgspec.json.encode(shared, order="deterministic"))

    def key(self, name: str, digest: str) -> str:
        """The key of the submission called ``name`` with the files that have this digest."""
        total = self._shared.copy()
        total.update(msgspec.json.encode([name, digest]))
        return total.hexdigest()


class _Line(msgspec.Struct, frozen=True):
    """A line of the journal. ``check`` is the sum over the rest, for a disk that alters it."""

    check: int
    key: str
    isolation: Isolation
    result: msgspec.Raw
    by: str = ""


class _Author(msgspec.Struct, frozen=True):
    """What a line of another version has at least."""

    by: str


class Place(NamedTuple):
    """Where in the file a result stands, and what has to be known of it without reading it."""

    key: str
    isolation: Isolation
    finished: bool
    start: int
    length: int
    by: str


class Journal:
    """The results in a file, by submission; the latest of each counts. Close it, or use ``with``.

    ``by`` says which versions write it now. Raises OSError where the file cannot be read or
    written.
    """

    def __init__(self, path: Path, by: str = "") -> None:
        self._path = path
        self._by = by
        self._damaged = 0
        self._foreign: Counter[str] = Counter()
        self._synced = 0.0
        self._open()
        self._places: dict[str, Place] = {}
        self._end = 0
        for line in self._reader:
            self._note(line)
        if self._end != sum(place.length for place in self._places.values()):
            self._keep(self._places)

    def place(self, name: str) -> Place | None:
        """What is known of a submission's result."""
        return self._places.get(name)

    def append(self, key: str, isolation: Isolation, result: Result) -> None:
        """Adds a result; it survives this process from here on."""
        data = encode_result(result)
        line = _Line(_sum(key, isolation, data), key, isolation, msgspec.Raw(data), self._by)
        written = msgspec.json.encode(line) + b"\n"
        self._write(written)
        self._add(result, line, len(written))
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._writer.fileno())
            self._synced = time.monotonic()

    def read(self, name: str) -> Result:
        """The result of a submission that the journal has."""
        place = self._places[name]
        self._reader.seek(place.start)
        line = _decoder.decode(self._reader.read(place.length))
        return decode_result(bytes(line.result))

    def troubles(self, stale: Collection[str], lost: int) -> Iterator[str]:
        """Say why submissions are graded again that nobody has changed.

        ``stale`` are those whose line does not count any more; ``lost`` is how many of those with
        published results have no line.
        """
        again = "graded again"
        if self._damaged:
            yield (
                f"{_lines(self._damaged)} of {self._path} could not be read and their submissions "
                f"are {again}."
            )
        foreign = self._foreign + Counter(self._places[name].by for name in stale)
        del foreign[self._by]
        for by, count in foreign.items():
            yield (
                f"{_lines(count)} of {self._path} were written by {by or 'an earlier version'} and "
                f"not by {self._by}: their submissions are {again}."
            )
        if lost > self._damaged + foreign.total():
            yield f"{self._path} has lost the lines of {lost} published results: they are {again}."

    def forget(self, names: Collection[str]) -> None:
        """Takes these submissions out, in one step."""
        self._leave([name for name in self._places if name not in names])

    def keep_only(self, names: Collection[str]) -> None:
        """Takes all other submissions out, in one step."""
        self._leave([name for name in self._places if name in names])

    def close(self) -> None:
        """Closes the file, with everything on disk."""
        self._reader.close()
        with self._writer:
            os.fsync(self._writer.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _open(self) -> None:
        self._writer = self._path.open("ab", buffering=0)
        self._reader = self._path.open("rb")

    def _write(self, line: bytes) -> None:
        """Write a line whole, or nothing of it."""
        try:
            done = self._writer.write(line)
            while done < len(line):
                done += self._writer.write(line[done:])
        except OSError:
            os.truncate(self._path, self._end)
            raise

    def _note(self, data: bytes) -> None:
        """Takes a line in, as it stands in the file, if it is whole."""
        try:
            line = _decoder.decode(data)
            content = bytes(line.result)
            if data.endswith(b"\n") and line.check == _sum(line.key, line.isolation, content):
                self._add(decode_result(content), line, len(data))
                return
        except _UNREADABLE:
            pass
        self._end += len(data)
        by = _author(data)
        if by and by != self._by:
            self._foreign[by] += 1
        else:
            self._damaged += 1

    def _add(self, result: Result, line: _Line, length: int) -> None:
        finished = result.status not in OPEN
        place = Place(line.key, line.isolation, finished, self._end, length, line.by)
        self._places[result.submission] = place
        self._end += length

    def _leave(self, names: Collection[str]) -> None:
        if len(names) < len(self._places):
            self._keep(names)

    def _keep(self, names: Iterable[str]) -> None:
        """Puts a file with the latest lines of these submissions in the place of this one."""
        places: dict[str, Place] = {}
        end = 0
        try:
            with replaced(self._path) as file:
                for name in names:
                    place = self._places[name]
                    self._reader.seek(place.start)
                    file.write(self._reader.read(place.length))
                    places[name] = place._replace(start=end)
                    end += place.length
                file.flush()
                # Windows puts no file in the place of one that is open.
                self._reader.close()
                self._writer.close()
        finally:
            if self._reader.closed:
                self._open()
        self._places, self._end = places, end


class Kept(Collection[Result]):
    """Results in the order of their names, each read as it is asked for, with ``read``."""

    def __init__(self, names: Iterable[str], read: Callable[[str], Result]) -> None:
        self._names = dict.fromkeys(sorted(names))
        self._read = read

    def __contains__(self, result: object) -> bool:
        return any(result == each for each in self)

    def __iter__(self) -> Iterator[Result]:
        return map(self._read, self._names)

    def __len__(self) -> int:
        return len(self._names)


_decoder = msgspec.json.Decoder(_Line)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _author(line: bytes) -> str:
    """Return who wrote a line that cannot be read as it should: nobody, where it is damaged."""
    try:
        return msgspec.json.decode(line, type=_Author).by
    except _UNREADABLE:
        return ""


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _sum(key: str, isolation: str, result: bytes) -> int:
    return zlib.crc32(result, zlib.crc32(f"{key} {isolation} ".encode()))


def _own_source() -> str:
    """Return a digest of the packages that judge: their code and their data in TOML."""
    root = Path(__file__).parents[2]
    total = hashlib.sha256()
    for package in ("grading", "harness"):
        files = (root / package).rglob("*")
        for path in sorted(path for path in files if path.suffix in (".py", ".toml")):
            total.update(f"{path.relative_to(root)} ".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()
