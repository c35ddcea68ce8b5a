"""What a run has finished, line by line on disk, so that the next run resumes from there.

A line is on disk before its submission counts as finished, and a kill at any moment costs the last
line at most. What is read back is checked, and each damaged line costs its own submission only.
"""

import hashlib
import os
import sys
import time
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from grading.errors import refusals
from grading.results.lines import OPEN, Result, decode_result, encode_result, replaced
from grading.results.versions import own_source
from grading.sandbox import Isolation
from grading.workers.jobs import Job
from harness.course.assignments import declaration_digest, source_of
from harness.course.numbers import plural
from harness.errors import UserError

if sys.platform != "win32":
    import fcntl

FILE = "journal.jsonl"
LOCK = ".lock"
# A crash of the whole machine loses at most this much work.
SYNC_SECONDS = 1.0


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of the folder until this process leaves the block or dies.

    Raise UserError if another one is writing to it, or the folder cannot be written.
    """
    with refusals(folder, "written"):
        file = (folder / LOCK).open("ab")
    with file:
        if sys.platform != "win32":
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"Another run is writing to {folder}: wait until it has ended."
                ) from None
        yield


class Keys:
    """Makes the key of a finished submission, which covers everything that its mark depends on.

    That includes the harness's own source, as a checkout changes without a new version.
    """

    def __init__(self, job: Job, versions: Mapping[str, str]) -> None:
        # Neither which of several attempts counts nor when they were due changes their marks.
        settings = job.settings.as_dict()
        del settings["attempts"], settings["deadline"]
        # Read once: the marks of a run are those of one declaration.
        self.declaration = declaration_digest(source_of(job.assignment))
        shared = [
            job.assignment,
            self.declaration,
            settings,
            job.seed,
            dict(versions),
            own_source(),
        ]
        self._shared = hashlib.sha256(msgspec.json.encode(shared, order="deterministic"))

    def key(self, name: str, digest: str, file: str = "") -> str:
        """Return the key of the submission called ``name`` with files of this digest.

        ``file`` is the one that the instructor has chosen, if any.
        """
        total = self._shared.copy()
        total.update(msgspec.json.encode([name, digest, file]))
        return total.hexdigest()


class _Line(msgspec.Struct, frozen=True):
    """A line of the journal. ``check`` is a checksum of the rest, in case the disk alters it.

    ``file`` is the one that the instructor has chosen of a submission's, if any.
    """

    check: int
    key: str
    isolation: Isolation
    result: msgspec.Raw
    by: str = ""
    file: str = ""


class _Author(msgspec.Struct, frozen=True):
    """What a line of any version has."""

    by: str


class Place(NamedTuple):
    """Where a result is in the file, and what must be known about it without reading it."""

    key: str
    isolation: Isolation
    finished: bool
    start: int
    length: int
    by: str
    file: str


class Journal:
    """The results in a file, by submission; the latest of each counts. Close it in the end.

    ``by`` names the versions that write it now. Raises OSError if the file cannot be read or
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
        """Return what is known about a submission's result."""
        return self._places.get(name)

    def append(self, key: str, isolation: Isolation, result: Result, file: str = "") -> None:
        """Add a result; it survives this process from here on."""
        data = encode_result(result)
        check = _sum(data, key, isolation, self._by, file)
        line = _Line(check, key, isolation, msgspec.Raw(data), self._by, file)
        written = msgspec.json.encode(line) + b"\n"
        self._write(written)
        self._add(result, line, len(written))
        if time.monotonic() - self._synced > SYNC_SECONDS:
            os.fsync(self._writer.fileno())
            self._synced = time.monotonic()

    def read(self, name: str) -> Result:
        """Return the result of a submission that the journal has."""
        place = self._places[name]
        self._reader.seek(place.start)
        line = _decoder.decode(self._reader.read(place.length))
        return decode_result(bytes(line.result))

    def troubles(self, stale: Collection[str], lost: int) -> Iterator[str]:
        """Say why submissions are graded again that nobody has changed.

        ``stale`` names those whose line no longer counts; ``lost`` is how many published results
        have no line.
        """
        again = "these submissions are graded again."
        if self._damaged:
            yield f"{self._path}: {plural(self._damaged, 'line')} could not be read; {again}"
        foreign = self._foreign + Counter(self._places[name].by for name in stale)
        del foreign[self._by]
        for by, count in foreign.items():
            theirs = f"written by {by or 'an earlier version'}, not by {self._by}"
            yield f"{self._path}: {plural(count, 'line')} {theirs}; {again}"
        if lost > self._damaged + foreign.total():
            yield f"{self._path}: the lines of {lost} published results are missing; {again}"

    def forget(self, names: Collection[str]) -> None:
        """Remove these submissions, in one step."""
        self.keep_only(self._places.keys() - names)

    def keep_only(self, names: Collection[str]) -> None:
        """Remove all other submissions, in one step."""
        kept = [name for name in self._places if name in names]
        if len(kept) < len(self._places):
            self._keep(kept)

    def close(self) -> None:
        """Close the file, with everything on disk."""
        self._reader.close()
        with self._writer:
            os.fsync(self._writer.fileno())

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
        """Take in a line of the file if it is whole."""
        try:
            line = _decoder.decode(data)
            content = bytes(line.result)
            check = _sum(content, line.key, line.isolation, line.by, line.file)
            if data.endswith(b"\n") and line.check == check:
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
        place = Place(line.key, line.isolation, finished, self._end, length, line.by, line.file)
        self._places[result.submission] = place
        self._end += length

    def _keep(self, names: Iterable[str]) -> None:
        """Replace the file by one with only the latest lines of these submissions."""
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


_decoder = msgspec.json.Decoder(_Line)
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _author(line: bytes) -> str:
    """Return who wrote a line that cannot be read, or "" if it is damaged."""
    try:
        return msgspec.json.decode(line, type=_Author).by
    except _UNREADABLE:
        return ""


def _sum(result: bytes, *rest: str) -> int:
    return zlib.crc32(result, zlib.crc32(msgspec.json.encode(rest)))
