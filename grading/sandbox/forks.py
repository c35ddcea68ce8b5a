"""The warm process itself: it has imported torch already, and forks children from that state.

It forks a nurse for each connection, so that workers share its memory and nothing else; a nurse
forks, watches and reaps the children of its worker.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path

import msgspec
import torch

from grading.sandbox import child, locks, orders
from grading.sandbox.finder import Finder
from grading.sandbox.locks import Locks
from grading.sandbox.orders import End, Ended, Failed, Fork, Look, Ready, Seen, Setup
from harness.candidate import Backward, Forward, Observe
from harness.workbench import Workbench

REST_SECONDS = 0.002


def main(control: int, entrance: int) -> None:
    """Warms up, makes the locks and tries them; then a nurse for each connection that comes in by
    the socket ``entrance``, until the other end of the socket ``control`` is closed."""
    torch.set_num_threads(1)
    _warm()
    owner, door = socket.socket(fileno=control), socket.socket(fileno=entrance)
    setup = orders.decode_order(owner.recv(orders.PACKET_LIMIT))
    assert isinstance(setup, Setup)
    try:
        made = Locks.made(setup)
        ready: Ready | Failed = Ready(locks.open_ways(made))
    except (OSError, ImportError) as error:
        ready = Failed(f"{type(error).__name__}: {error}")
    owner.send(orders.encode(ready))
    child.prepare(None if setup.isolation == "minimal" else Finder(setup.software))
    gc.collect()
    gc.freeze()
    while True:
        readable, _, _ = select.select([owner, door], [], [])
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if owner in readable:
            return
        _, descriptors, *_ = socket.recv_fds(door, len(orders.KNOCK), 1)
        if not descriptors:
            return
        connection = socket.socket(fileno=descriptors[0])
        if not os.fork():
            owner.close()
            door.close()
            _nurse(connection, made)
        connection.close()


def _nurse(connection: socket.socket, made: Locks) -> None:
    """Serves one worker until it hangs up, and ends with everything it has started."""
    try:
        locks.die_with(made.parent)
        locks.adopt_orphans()
        Nurse(connection, made).serve()
    finally:
        os._exit(0)


class Nurse:
    """Forks, watches and reaps the children of one worker."""

    def __init__(self, connection: socket.socket, made: Locks) -> None:
        self._connection = connection
        self._locks = made
        self._locks.parent = os.getpid()
        self._pids: dict[int, int] = {}

    def serve(self) -> None:
        """Carries out orders until the other side closes the connection."""
        while True:
            packet, descriptors, *_ = socket.recv_fds(self._connection, orders.PACKET_LIMIT, 1)
            if not packet:
                break
            match orders.decode_order(packet):
                case Fork() as wanted:
                    self._fork(wanted, socket.socket(fileno=descriptors[0]))
                case Look(number):
                    self._tell(Seen(_cpu_seconds(self._pids[number])))
                case End(number, grace):
                    self._tell(self._end(self._pids.pop(number), grace))
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)

    def _tell(self, news: orders.News) -> None:
        self._connection.send(orders.encode(news))

    def _fork(self, wanted: Fork, wire: socket.socket) -> None:
        pid = os.fork()
        if pid:
            wire.close()
            self._pids[wanted.number] = pid
            return
        # The child must never return into the nurse's loop, whatever happens.
        code = 1
        try:
            child.silence()
            self._connection.detach()
            child.serve(self._locks.close_in(wire, wanted.memory_mib, wanted.cpu_seconds))
            code = 0
        finally:
            os._exit(code)

    def _end(self, pid: int, grace: float) -> Ended:
        until = time.monotonic() + grace
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        while not reaped and time.monotonic() < until:
            time.sleep(REST_SECONDS)
            reaped, status, usage = os.wait4(pid, os.WNOHANG)
        if not reaped:
            os.kill(pid, signal.SIGKILL)
            _, status, usage = os.wait4(pid, 0)
        self._end_orphans()
        return Ended(
            not reaped,
            os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            usage.ru_utime + usage.ru_stime,
        )

    def _end_orphans(self) -> None:
        """Kills what a child that could start processes (at the level minimal) left behind."""
        while self._locks.isolation == "minimal":
            orphans = set(_children()) - set(self._pids.values())
            if not orphans:
                return
            for pid in orphans:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)


def _children() -> list[int]:
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii")
    return [int(pid) for pid in text.split()]


def _cpu_seconds(pid: int) -> float:
    """The processor time of a process that has not been reaped."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    after_name = text.rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _warm() -> None:
    """Runs a Function there and back once, so that no child pays for what torch loads late."""

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
            Backward(1, upstream),
            Observe("Twice", (ones,), upstream, (True,)),
        ]
    )


if __name__ == "__main__":
    with contextlib.suppress(msgspec.DecodeError, KeyboardInterrupt):
        main(int(sys.argv[1]), int(sys.argv[2]))
