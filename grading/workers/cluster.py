"""Grades on a dask.distributed cluster: bytes go to its workers, and bytes come back.

Each worker gets a few submissions ahead and no more, so that what waits there is bounded, and gets
none before it is known to grade as this machine would.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import secrets
import time
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from grading.errors import refusal
from grading.results.lines import Result, Seconds
from grading.results.versions import own_source, versions
from grading.sandbox import Isolation
from grading.submissions.reading import Entry, read_files
from grading.workers.capacity import cores
from grading.workers.helpers import undisturbed
from grading.workers.jobs import Graded, Job
from harness.course.assignments import (
    SOURCE,
    assignment_names,
    current_course,
    declared_files,
    source_of,
)
from harness.errors import UserError

if TYPE_CHECKING:
    from distributed import Client, Future

# How many submissions a worker has: one that it grades, and one that it need not wait for.
AHEAD = 2
# How often the scheduler is asked for its workers, and how long it may be out of reach, later and
# at first.
LOOK_SECONDS = 1.0
GONE_SECONDS = 60.0
CONNECT_SECONDS = 10.0
# How long what a worker has finished may take to come: it may have died with its worker.
FETCH_SECONDS = 5.0
# How often workers may die or fail over one submission before it is left for the end.
TRIES = 2
_T = TypeVar("_T")
LOCAL = re.compile(r"local(?::([1-9]\d{0,5}))?")
# More of them on this machine, of which four are always possible, would only wait for each other.
WORKERS_PER_CORE = 2
# What the client calls a connection that it has given up.
CLOSED = ("closing", "closed")


@contextmanager
def open_cluster(address: str, job: Job, levels: Sequence[Isolation]) -> Iterator[Cluster]:
    """Yield the cluster at an address, or one of processes on this machine: ``local``, ``local:4``.

    Students' processes run at one of ``levels``. Raise UserError if there is no such cluster, or
    others could listen in.
    """
    here = LOCAL.fullmatch(address)
    if not here:
        _require_private(address)
    elif int(here[1] or 1) > (most := max(4, WORKERS_PER_CORE * cores())):
        raise UserError(f"{address} is more than this machine bears: give local:{most} at most.")
    try:
        import distributed
    except ImportError:
        raise UserError(
            "--scheduler needs dask.distributed: pip install 'backprop-harness[cluster]'."
        ) from None
    # What matters of it is said in this program's words.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
    if here:
        with ExitStack() as stack:
            with undisturbed():
                local = distributed.LocalCluster(
                    n_workers=int(here[1]) if here[1] else None,
                    threads_per_worker=1,
                    memory_limit=0,
                    host="127.0.0.1",
                    dashboard_address=None,
                    # The scheduler serves HTTP even without a dashboard: any free port will do.
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                    silence_logs=logging.CRITICAL,
                    preload=["grading.workers.calm"],
                )
                client = stack.enter_context(distributed.Client(stack.enter_context(local)))
            yield from _joined(client, address, job, levels)
    else:
        with _connected(address) as client:
            yield from _joined(client, address, job, levels)


def _require_private(address: str) -> None:
    """Raise UserError for anything but a scheduler's address that others cannot listen to."""
    scheme, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme not in ("tcp", "tls") or not host or not port.isdecimal():
        raise UserError(
            f"{address} is not a scheduler's address: give one such as tls://host:8786, or local."
        )
    if scheme == "tcp" and not _is_this_machine(host):
        raise UserError(
            f"{address} is another machine's, and whoever reaches a scheduler without TLS can run "
            f"code on its workers: start it with TLS and give tls://{rest}."
        )


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    from distributed import Client, Security

    try:
        security = Security() if address.startswith("tls:") else None
        client = Client(address, security=security, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, TypeError, ValueError) as error:
        raise UserError(
            f"The scheduler at {address} cannot be reached ({error}): see that it runs, and that "
            "dask's configuration here names the certificates that it requires."
        ) from None
    with client:
        yield client


def _joined(
    client: Client, address: str, job: Job, levels: Sequence[Isolation]
) -> Iterator[Cluster]:
    cluster = Cluster(client, address, job, levels)
    try:
        yield cluster
    finally:
        cluster.leave()


@dataclass
class _Worker:
    """What a worker of the cluster is busy with; it is fit to grade once it has joined."""

    joining: Future[str] | None
    fit: bool = False
    work: dict[Future[bytes], Entry] = field(default_factory=dict)


class Cluster:
    """The workers of a scheduler, as they come and go, for one run."""

    def __init__(self, client: Client, address: str, job: Job, levels: Sequence[Isolation]) -> None:
        from distributed.client import ClosedClientError

        from grading.workers.on_cluster import Orders, encode

        # What the client raises for every request once it has given up the scheduler.
        self._closed = ClosedClientError
        self._client = client
        self._address = address
        self._job = job
        self._run = f"backprop-{secrets.token_hex(8)}"
        self._number = 0
        orders = Orders(self._run, job, list(levels), versions(), own_source(), _course_files())
        self._orders = encode(orders)
        self._workers: dict[str, _Worker] = {}
        self._refused: dict[str, str] = {}
        self._looked = 0.0
        self._reached = time.monotonic()
        self._was_fit = self._waits = False

    def grade(
        self, entries: Sequence[Entry], job: Job, *, second: bool = False
    ) -> Iterator[Graded]:
        """Yield each entry as it is graded.

        A ``second`` try is final. Raise BrokenProcessPool if workers die or fail over it, and
        UserError if the scheduler is gone, or none of the workers can grade.
        """
        waiting = deque(entries)
        strikes: Counter[str] = Counter()
        try:
            while waiting or any(worker.work for worker in self._workers.values()):
                yield from self._hand_out(waiting, second)
                self._wait()
                for entry, done, trouble in (*self._lost(), *self._returned()):
                    if done is not None:
                        yield done
                        continue
                    strikes[entry.name] += bool(trouble)
                    if strikes[entry.name] < (1 if second else TRIES):
                        waiting.appendleft(entry)
                    elif second:
                        raise BrokenProcessPool(trouble)
                    else:
                        yield Graded(_open(entry, job), again=True)
        except self._closed as error:
            raise self._gone(error) from None
        finally:
            self._drop()

    def renew(self) -> None:
        """Do nothing: whoever runs the cluster replaces what has died."""

    def leave(self) -> None:
        """Have the workers remove what they hold for the run."""
        from distributed import wait

        from grading.workers import on_cluster

        with suppress(OSError, TimeoutError, CancelledError, RuntimeError, self._closed):
            left = [
                self._submit(address, on_cluster.leave, self._run)
                for address, worker in self._workers.items()
                if worker.fit
            ]
            wait(left, timeout=10)

    def _submit(self, address: str, function: Any, *arguments: Any) -> Future[Any]:
        self._number += 1
        return self._client.submit(
            function,
            *arguments,
            key=f"{self._run}-{self._number}",
            workers=[address],
            allow_other_workers=False,
            pure=False,
        )

    def _hand_out(self, waiting: deque[Entry], second: bool) -> Iterator[Graded]:
        """Give waiting entries to workers that have room; yield those that cannot be read."""
        from grading.workers import on_cluster

        for address, worker in self._workers.items():
            while worker.fit and waiting and len(worker.work) < AHEAD:
                entry = waiting.popleft()
                try:
                    files, reason = read_files(entry, self._job.assignment)
                except OSError as error:
                    from grading.workers.worker import given_up

                    why = refusal(error, entry.paths[0])
                    yield Graded(given_up(entry, self._job, why), again=False)
                    continue
                sent = msgspec.structs.replace(entry, paths=(), attempts=())
                work = on_cluster.encode(on_cluster.Work(sent, files, reason, second))
                future = self._submit(address, on_cluster.grade, self._run, work)
                worker.work[future] = entry

    def _wait(self) -> None:
        """Wait until a worker has something to say, or it is time to look for others."""
        from distributed import wait

        futures: list[Future[Any]] = []
        for each in self._workers.values():
            futures += each.work
        futures += [each.joining for each in self._workers.values() if each.joining]
        if not futures:
            time.sleep(LOOK_SECONDS / 10)
        else:
            # Which of them it is, is looked at afterwards.
            with suppress(TimeoutError, CancelledError):
                wait(futures, timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED")

    def _lost(self) -> Iterator[tuple[Entry, None, str]]:
        """Look who is there; have new workers join, and yield what those that are gone had."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        there = self._there()
        self._looked = time.monotonic()
        for address in there - self._workers.keys():
            self._join(address)
        for address in self._workers.keys() - there:
            gone = self._workers.pop(address)
            self._refused.pop(address, None)
            self._client.cancel([*gone.work, *filter(None, [gone.joining])])
            for entry in gone.work.values():
                yield entry, None, "the worker that graded it died"
        self._require_some()

    def _there(self) -> set[str]:
        """Return the addresses of the workers. Raise UserError if the scheduler is gone."""
        try:
            scheduler: Any = self._client.scheduler
            if self._client.status in CLOSED or scheduler is None:
                raise OSError("the connection is closed")
            found = self._client.sync(scheduler.identity, callback_timeout=CONNECT_SECONDS)
        except OSError as error:
            closed = self._client.status in CLOSED
            if not closed and time.monotonic() - self._reached < GONE_SECONDS:
                return set(self._workers)
            raise self._gone(error) from None
        self._reached = time.monotonic()
        return set(found["workers"])

    def _gone(self, error: Exception) -> UserError:
        return UserError(
            f"The scheduler at {self._address} is gone ({error}). What has been graded is "
            "kept: run the same command again once it is back, or without --scheduler."
        )

    def _join(self, address: str) -> None:
        from grading.workers import on_cluster

        joining = self._submit(address, on_cluster.join, self._orders)
        work = self._workers[address].work if address in self._workers else {}
        self._workers[address] = _Worker(joining, work=work)

    def _require_some(self) -> None:
        """Raise UserError if all workers have said that they cannot grade; else say what waits."""
        if any(worker.fit or worker.joining for worker in self._workers.values()):
            return
        if self._workers and not self._was_fit:
            address, reason = next(iter(self._refused.items()))
            raise UserError(f"No worker of {self._address} can grade. {address}: {reason}")
        if not self._waits:
            self._waits = True
            click.echo(f"Waiting for workers of {self._address}.", err=True)

    def _returned(self) -> Iterator[tuple[Entry, Graded | None, str]]:
        """Yield what workers have finished: the entry, graded, or why it is to be tried again."""
        from grading.workers.on_cluster import Reply, decode

        for address, worker in list(self._workers.items()):
            if worker.joining and worker.joining.done():
                self._note(address, worker)
            for future in [each for each in worker.work if each.done()]:
                entry = worker.work.pop(future)
                if future.status == "cancelled":
                    # By a scheduler that was restarted.
                    yield entry, None, ""
                elif future.status == "error":
                    yield entry, None, str(future.exception())
                elif (told := _fetched(future)) is None:
                    # Whether its worker is gone, is found out in the next round.
                    worker.work[future] = entry
                else:
                    reply = decode(Reply, told)
                    if reply.graded is None and worker.fit:
                        self._join(address)
                    yield entry, reply.graded, reply.trouble

    def _note(self, address: str, worker: _Worker) -> None:
        """Note whether a worker that was to join can grade; say so if it cannot."""
        joining, worker.joining = worker.joining, None
        assert joining is not None
        if joining.status == "cancelled":
            self._join(address)
            return
        if joining.status == "error":
            error = joining.exception()
            reason = f"{type(error).__name__}: {error}"
            if isinstance(error, ImportError):
                reason = f"A package is missing ({error}): install backprop-harness[cluster]."
        elif (told := _fetched(joining)) is None:
            worker.joining = joining
            return
        else:
            reason = told
        worker.fit = not reason
        self._was_fit |= worker.fit
        if reason:
            self._refused[address] = reason
            click.echo(f"The worker {address} is not used. {reason}", err=True)

    def _drop(self) -> None:
        """Forget the work that is not finished, as nobody waits for it any more."""
        futures = [future for each in self._workers.values() for future in each.work]
        for worker in self._workers.values():
            worker.work.clear()
        with suppress(OSError, RuntimeError, self._closed):
            self._client.cancel(futures)


def _fetched(finished: Future[_T]) -> _T | None:
    """Return what a task returned, None if it is not to be had: lost, or run a second time.

    Without a limit, the wait for what has died with its worker does not end.
    """
    from distributed.scheduler import KilledWorker

    try:
        return finished.result(timeout=FETCH_SECONDS)
    except (TimeoutError, CancelledError, KilledWorker):
        return None


def _open(entry: Entry, job: Job) -> Result:
    """Return a result that only stands for its entry until that is graded again."""
    return Result(
        submission=entry.name,
        assignment=job.assignment,
        status="grader_error",
        score=None,
        max_score=0.0,
        digest="",
        seconds=Seconds(0.0, 0.0),
    )


def _course_files() -> dict[str, bytes] | None:
    """Return the files of all declarations of the course by their paths, None without a course."""
    if current_course() is None:
        return None
    return {
        f"{SOURCE}/{name}/{path.relative_to(source_of(name)).as_posix()}": path.read_bytes()
        for name in assignment_names()
        for path in declared_files(source_of(name))
    }
