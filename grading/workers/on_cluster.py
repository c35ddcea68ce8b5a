"""A cluster worker's side of a run: it joins, grades what it is sent, and keeps nothing.

What comes and goes is plain bytes. A process that cannot grade as the run requires says why.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import TypeVar

import msgspec
from distributed import get_worker

from grading.confined.spawner import Spawner
from grading.errors import sentence
from grading.parsing.source import File
from grading.results.versions import own_source, versions
from grading.sandbox import Isolation, open_spawner, open_zygote
from grading.sandbox.temporary import room
from grading.submissions.reading import Entry
from grading.workers.jobs import Graded, Job
from harness.course.assignments import SOURCE, use_course

# A run that has sent nothing for so long may have been killed: it joins again if it has not.
IDLE_SECONDS = 60.0


class Orders(msgspec.Struct, frozen=True):
    """What a worker has to know of a run. ``course`` has the course's files by their paths."""

    run: str
    job: Job
    levels: list[Isolation]
    versions: dict[str, str]
    source: str
    course: dict[str, bytes] | None


class Work(msgspec.Struct, frozen=True):
    """A submission to grade: its files, or the reason why they cannot be used."""

    entry: Entry
    files: list[File]
    reason: str
    second: bool


class Reply(msgspec.Struct, frozen=True):
    """A submission, graded, or why it is not; neither if this process has not joined the run."""

    graded: Graded | None = None
    trouble: str = ""


_T = TypeVar("_T")


def encode(data: Orders | Work | Reply) -> bytes:
    """Return data as JSON in ASCII, which can say the names of files that are not UTF-8 too."""
    return json.dumps(msgspec.to_builtins(data)).encode("ascii")


def decode(kind: type[_T], data: bytes) -> _T:
    """Return what `encode` has encoded. Raise ValueError if it is no ``kind``."""
    return msgspec.convert(json.loads(data), kind)


class Site:
    """Where this process grades for a run: the run's course, and where children come from."""

    def __init__(self, orders: Orders) -> None:
        from grading.workers.warm import make_ready
        from grading.workers.worker import Workplace

        self._job = orders.job
        self._levels = orders.levels
        self._as_root = False
        self.used = time.monotonic()
        with ExitStack() as stack:
            self._course = None
            if orders.course is not None:
                self._course = Path(stack.enter_context(_unpacked(orders.course)))
                (self._course / SOURCE).mkdir(exist_ok=True)
            self._place = Workplace(self._open)
            stack.callback(self._place.leave)
            use_course(self._course)
            make_ready(orders.job.assignment, orders.job.seed)
            self._place.spawner()
            self._all = stack.pop_all()

    def grade(self, work: Work) -> Graded:
        """Return a submission, graded. Raise SpawnerError if no process can be started for it."""
        use_course(self._course)
        handed = work.files, work.reason
        graded = self._place.grade(work.entry, self._job, second=work.second, files=handed)
        self.used = time.monotonic()
        level = self._levels[0]
        return msgspec.structs.replace(graded, isolation=level, as_root=self._as_root)

    def leave(self) -> None:
        """Remove all that is here for the run."""
        self._all.close()

    def _open(self) -> Spawner:
        packages = self._job.settings.packages
        if (zygote := open_zygote(self._levels, packages)) is None:
            return open_spawner(self._levels)
        self._levels = [zygote.isolation]
        self._as_root = zygote.as_root
        return zygote


_sites: dict[str, Site] = {}
_one_at_a_time = Lock()


def join(orders: bytes) -> str:
    """Prepare this process for a run; return why it cannot grade, "" if it can."""
    with _one_at_a_time:
        for run, site in list(_sites.items()):
            if time.monotonic() - site.used > IDLE_SECONDS:
                _leave(run)
        told = decode(Orders, orders)
        if reason := _unfit(told):
            return reason
        _leave(told.run)
        try:
            _sites[told.run] = Site(told)
        except Exception as error:
            # Whatever it is, this worker cannot grade and others may.
            return sentence(error) or f"{type(error).__name__}: {error}"
        return ""


def grade(run: str, work: bytes) -> bytes:
    """Return what grading a submission for the run came to."""
    with _one_at_a_time:
        if (site := _sites.get(run)) is None:
            return encode(Reply())
        try:
            return encode(Reply(site.grade(decode(Work, work))))
        except Exception as error:
            # It is told as text: what a worker raises is not decoded elsewhere.
            _leave(run)
            return encode(Reply(trouble=f"{type(error).__name__}: {error}"))


def leave(run: str) -> None:
    """Remove all that is here for the run."""
    with _one_at_a_time:
        _leave(run)


def _leave(run: str) -> None:
    if site := _sites.pop(run, None):
        site.leave()


def _unfit(orders: Orders) -> str:
    """Return why this process would not grade as the one that asks, "" if it would."""
    threads = get_worker().state.nthreads
    if threads != 1:
        return f"It has {threads} threads: start it with --nthreads 1."
    other = [
        f"{name} {here} and not {orders.versions.get(name)}"
        for name, here in versions().items()
        if here != orders.versions.get(name)
    ]
    if other:
        return f"It has {', '.join(other)}: install the same versions."
    if own_source() != orders.source:
        return "Its code of backprop-harness is not the same: install the same everywhere."
    return ""


def _unpacked(course: dict[str, bytes]) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder with the files of a course."""
    folder = tempfile.TemporaryDirectory(dir=room(), ignore_cleanup_errors=True)
    for name, data in course.items():
        path = Path(folder.name, *PurePosixPath(name).parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
