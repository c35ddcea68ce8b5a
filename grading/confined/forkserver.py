"""The warm process itself: it has imported torch already, and forks children from that state.

It forks a supervisor for each connection, so that workers share its memory and nothing else; a
supervisor forks, watches and reaps the children of its worker.
"""

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from grading.confined import child, locks, orders, scratch
from grading.confined.finder import Finder
from grading.confined.locks import Locks
from grading.confined.orders import End, Ended, Failed, Fork, Load, Loaded, Look, Ready, Seen, Setup
from harness.candidate.operations import Backward, Forward, Observe
from harness.candidate.workbench import Workbench

REST_SECONDS = 0.002
# How often to look at what a child writes, and whether a supervisor has ended.
LOOK_SECONDS = 0.05
TIDY_SECONDS = 1.0


def main(control: int, entrance: int) -> None:
    """Warm up, prepare and try the locks, then fork a supervisor for each connection.

    Connections come in by the socket ``entrance``, until the other end of ``control`` is closed.
    """
    torch.set_num_threads(1)
    _warm()
    owner, door = socket.socket(fileno=control), socket.socket(fileno=entrance)
    setup = orders.decode_order(owner.recv(orders.PACKET_LIMIT))
    assert isinstance(setup, Setup)
    try:
        prepared = Locks.prepared(setup)
        own = prepared.of_this_process()
        ready: Ready | Failed = Ready(locks.open_ways(own), prepared.as_root)
        scratch.remove(Path(setup.scratch, str(os.getpid())))
    except (OSError, ImportError) as error:
        ready = Failed(f"{type(error).__name__}: {error}")
    owner.send(orders.encode(ready))
    child.prepare(None if setup.isolation == "minimal" else Finder(setup.software))
    gc.collect()
    gc.freeze()
    gc.enable()
    supervisors = set[int]()
    while owner not in (readable := select.select([owner, door], [], [], TIDY_SECONDS)[0]):
        if door in readable:
            _, descriptors, *_ = socket.recv_fds(door, len(orders.KNOCK), 1)
            if not descriptors:
                break
            with socket.socket(fileno=descriptors[0]) as connection:
                supervisors.add(_supervisor(connection, prepared, (owner, door)))
        supervisors -= {pid for pid in supervisors if _is_gone(pid, setup)}
    for pid in supervisors:
        os.kill(pid, signal.SIGKILL)
    while supervisors:
        supervisors -= {pid for pid in supervisors if _is_gone(pid, setup)}
        time.sleep(REST_SECONDS)
    # The process that made it may be gone, and cannot remove it.
    with contextlib.suppress(OSError):
        Path(setup.scratch).rmdir()


def _supervisor(connection: socket.socket, prepared: Locks, others: Sequence[socket.socket]) -> int:
    """Fork a process that serves one worker until it disconnects, and return its number.

    It ends with everything it has started.
    """
    warm = os.getpid()
    if pid := os.fork():
        return pid
    try:
        for each in others:
            each.close()
        locks.die_with(warm)
        locks.adopt_orphans()
        Supervisor(connection, prepared.of_this_process()).serve()
    finally:
        os._exit(0)


def _is_gone(pid: int, setup: Setup) -> bool:
    """Return whether a supervisor has ended, and if so remove the folder of its children."""
    if not os.waitpid(pid, os.WNOHANG)[0]:
        return False
    scratch.remove(Path(setup.scratch, str(pid)))
    return True


class Supervisor:
    """Forks, watches and reaps the children of one worker."""

    def __init__(self, connection: socket.socket, made: Locks) -> None:
        self._connection = connection
        self._locks = made
        assert made.folder is not None
        self._folder = made.folder
        self._pids: dict[int, int] = {}
        self._lasting: set[int] = set()
        self._excess: dict[int, str] = {}

    def serve(self) -> None:
        """Carry out orders until the other side closes the connection."""
        while True:
            if self._running():
                self._look_into_folder()
                if not select.select([self._connection], [], [], LOOK_SECONDS)[0]:
                    continue
            packet, descriptors, *_ = socket.recv_fds(self._connection, orders.PACKET_LIMIT, 1)
            if not packet:
                break
            match orders.decode_order(packet):
                case Load(modules):
                    self._load(modules)
                case Fork() as wanted:
                    self._fork(wanted, socket.socket(fileno=descriptors[0]))
                case Look(number):
                    self._tell(Seen(_cpu_seconds(self._pids[number])))
                case End(number, grace):
                    self._tell(self._end(number, grace))
        self._stop(self._pids)

    def _running(self) -> list[int]:
        """Return the numbers of the children that run a student's code."""
        return [number for number in self._pids if number not in self._lasting]

    def _tell(self, news: orders.News) -> None:
        self._connection.send(orders.encode(news))

    def _load(self, modules: Sequence[str]) -> None:
        for module in modules:
            importlib.import_module(module)
        child.seed()
        gc.collect()
        gc.freeze()
        self._tell(Loaded())

    def _stop(self, numbers: Iterable[int]) -> None:
        """End the children with these numbers if they still run."""
        for pid in map(self._pids.__getitem__, numbers):
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    def _look_into_folder(self) -> None:
        """Kill the child if its temporary files are too many or too large."""
        if excess := scratch.excess(self._folder):
            self._excess |= dict.fromkeys(self._running(), excess)
            self._stop(self._running())

    def _fork(self, wanted: Fork, wire: socket.socket) -> None:
        if wanted.lasting:
            self._lasting.add(wanted.number)
        else:
            # They share a folder: one is gone, with all it has written, before the next starts.
            self._stop(self._running())
            scratch.empty(self._folder)
        if pid := os.fork():
            wire.close()
            self._pids[wanted.number] = pid
            return
        # The child must never return into the supervisor's loop, whatever happens.
        code = 1
        try:
            child.silence()
            # Python seeds `random` by chance in every fork.
            child.seed()
            self._connection.detach()
            child.serve(self._locks.close_in(wire, wanted.memory_mib, wanted.cpu_seconds))
            code = 0
        finally:
            os._exit(code)

    def _end(self, number: int, grace: float) -> Ended:
        pid = self._pids[number]
        until = time.monotonic() + grace
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        while not reaped and time.monotonic() < until:
            time.sleep(REST_SECONDS)
            self._look_into_folder()
            reaped, status, usage = os.wait4(pid, os.WNOHANG)
        if not reaped:
            os.kill(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
        del self._pids[number]
        self._end_orphans()
        if number not in self._lasting:
            scratch.empty(self._folder)
        self._lasting.discard(number)
        return Ended(
            not reaped,
            os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            usage.ru_utime + usage.ru_stime,
            self._excess.pop(number, ""),
        )

    def _end_orphans(self) -> None:
        """Kill what a child that could start processes (at the level minimal) left behind."""
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        while self._locks.setup.isolation == "minimal":
            orphans = set(map(int, children.read_text(encoding="ascii").split()))
            orphans -= set(self._pids.values())
            if not orphans:
                return
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)


def _cpu_seconds(pid: int) -> float:
    """Return the processor time of a process that has not been reaped."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    after_name = text.rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _warm() -> None:
    """Run a Function forward and backward, so that no child pays for what torch loads late."""

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, value: torch.Tensor) -> torch.Tensor:
            return 2 * value

        @staticmethod
        def backward(ctx: object, upstream: torch.Tensor) -> torch.Tensor:
            return 2 * upstream

    ones = torch.ones(2, 2, dtype=torch.float64)
    upstream = torch.sigmoid(ones @ ones)
    Workbench({"Twice": Twice}).perform(
        [
            Forward(1, "Twice", (ones,), (True,)),
            Backward(1, (upstream,)),
            Observe("Twice", (ones,), (True,), (upstream,), (True,)),
        ]
    )
