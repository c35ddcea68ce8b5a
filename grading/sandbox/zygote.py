"""The judge's side of the warm process that forks a child for each submission."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import socket
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from grading.confined import orders, scratch
from grading.confined.channel import Channel
from grading.confined.orders import Ended, Isolation
from grading.confined.software import PACKAGE_ROOT, Software, link_outside
from grading.confined.spawner import Spawner, SpawnerError
from grading.errors import low_limits
from grading.sandbox.bubblewrap import SCRATCH, around_all
from grading.sandbox.seccomp import compile_filter
from grading.sandbox.temporary import room

START_SECONDS = 180.0
ORDER_SECONDS = 60.0
GONE = "the process that forks children is gone"

News = TypeVar("News", orders.Loaded, orders.Seen, Ended)


class ForkedChild:
    """A forked child: the channel to it, and how to end it."""

    def __init__(self, supervisor: Connection, number: int, channel: Channel) -> None:
        self._supervisor = supervisor
        self._number = number
        self.channel = channel

    def cpu_seconds(self) -> float:
        """Return the processor time it has used."""
        return self._supervisor.ask(orders.Look(self._number), orders.Seen).cpu_seconds

    def end(self, grace: float = 0.0) -> Ended:
        """Kill it if it still runs after ``grace`` seconds, and return how it ended."""
        self.channel.close()
        return self._supervisor.ask(orders.End(self._number, grace), Ended)


class Connection(Spawner):
    """One worker's connection to the warm process, which can have many.

    One end of it is sent through the ``door``, a socket without a name that others could find.
    """

    def __init__(self, door: socket.socket) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.settimeout(ORDER_SECONDS)
        self._numbers = itertools.count()
        self._loaded: set[str] = set()
        try:
            with theirs:
                socket.send_fds(door, [orders.KNOCK], [theirs.fileno()])
        except OSError:
            self._socket.close()
            raise SpawnerError(GONE) from None

    def child(
        self, memory_mib: int, cpu_seconds: float, modules: Sequence[str] = ()
    ) -> ForkedChild:
        """Return a new child, with ``modules`` loaded; the one before it ends if it still runs.

        Raise SpawnerError if the warm process is gone.
        """
        missing = tuple(each for each in modules if each not in self._loaded)
        if missing:
            self.ask(orders.Load(missing), orders.Loaded)
            self._loaded |= set(missing)
        return self._forked(memory_mib, cpu_seconds, lasting=False)

    def lasting_child(self, memory_mib: int, cpu_seconds: float) -> ForkedChild:
        """Return a new child that runs beside the others. Raise as `child` does."""
        return self._forked(memory_mib, cpu_seconds, lasting=True)

    def _forked(self, memory_mib: int, cpu_seconds: float, *, lasting: bool) -> ForkedChild:
        mine, theirs = socket.socketpair()
        number = next(self._numbers)
        order = orders.encode(orders.Fork(number, memory_mib, math.ceil(cpu_seconds), lasting))
        try:
            with theirs:
                socket.send_fds(self._socket, [order], [theirs.fileno()])
        except OSError:
            mine.close()
            raise SpawnerError(GONE) from None
        return ForkedChild(self, number, Channel(mine))

    def ask(self, order: orders.Load | orders.Look | orders.End, kind: type[News]) -> News:
        """Return the answer to an order. Raise SpawnerError if the warm process is gone."""
        try:
            self._socket.send(orders.encode(order))
            news = orders.decode_news(self._socket.recv(orders.PACKET_LIMIT))
        except (OSError, msgspec.DecodeError):
            raise SpawnerError(GONE) from None
        if not isinstance(news, kind):
            raise SpawnerError(f"the process that forks children answered {news!r}")
        return news

    def close(self) -> None:
        """Disconnect, which ends the children."""
        self._socket.close()


class Zygote(Spawner):
    """The warm process, at the best isolation level of ``levels`` that works on this machine.

    Children can read and import ``packages`` besides torch and numpy. It starts at once and warms
    up for a second or two in the background. Others can connect through its ``door``. Raise
    MissingPackage if a package is not installed.
    """

    def __init__(
        self, levels: Sequence[Isolation] = ("full", "partial"), packages: Sequence[str] = ()
    ) -> None:
        self._levels = list(levels)
        self._software = Software.installed(packages)
        self._warm: _Warm | None = None
        self._ready = False
        # The level that has worked on this machine, whatever fails later.
        self._works: Isolation | None = None
        self._connection: Connection | None = None
        self.refused: dict[Isolation, str] = {}
        self._start()

    @property
    def isolation(self) -> Isolation:
        """The level in use, once it is known. Raise SpawnerError if none works."""
        self.wait()
        return self._levels[0]

    @property
    def as_root(self) -> bool:
        """Whether locked children stay root, once it is known."""
        return self.wait().as_root

    @property
    def door(self) -> socket.socket:
        """Where `Connection` reaches it, once it is warm."""
        return self.wait().door

    def wait(self) -> _Warm:
        """Wait until children can be forked. Raise SpawnerError if no level works."""
        while self._warm is not None and not self._ready:
            try:
                self._warm.wait()
                self._ready = True
                self._works = self._levels[0]
            except SpawnerError as error:
                self._refuse(str(error))
        if self._warm is None:
            reasons = [f"{level}: {why}" for level, why in self.refused.items()]
            raise SpawnerError("; ".join(filter(None, [*reasons, low_limits()])))
        return self._warm

    def child(
        self, memory_mib: int, cpu_seconds: float, modules: Sequence[str] = ()
    ) -> ForkedChild:
        """Return a new child; the first call waits until the process is warm."""
        return self._connected().child(memory_mib, cpu_seconds, modules)

    def lasting_child(self, memory_mib: int, cpu_seconds: float) -> ForkedChild:
        """Return a new child that runs beside the others, as `child` does."""
        return self._connected().lasting_child(memory_mib, cpu_seconds)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = Connection(self.door)
        return self._connection

    def restart(self) -> None:
        """Replace the warm process by a new one, at the level already in use.

        If the new one is killed before it is warm, call it again.
        """
        self.close()
        self._levels = [self._works] if self._works else self._levels[:1]
        self._start()

    def close(self) -> None:
        """End the warm process and every child. Can be repeated."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._warm is not None:
            self._warm.close()
            self._warm = None
        self._ready = False

    def _start(self) -> None:
        while self._levels and self._warm is None:
            try:
                self._warm = _Warm(self._levels[0], self._software)
            except SpawnerError as error:
                self._refuse(str(error))

    def _refuse(self, why: str) -> None:
        self.refused[self._levels.pop(0)] = why
        if self._warm is not None:
            self._warm.close()
            self._warm = None
            self._start()


class _Warm:
    """The process at one isolation level."""

    def __init__(self, isolation: Isolation, software: Software) -> None:
        # Look first for what may be missing, while nothing is open yet.
        program = b"" if isolation == "minimal" else compile_filter()
        environment = _environment(software)
        around = around_all(environment, software) if isolation == "full" else []
        # No other installed package may add anything to a process that is locked.
        alone = [] if isolation == "minimal" else ["-S", "-P"]
        command = [*around, sys.executable, *alone, "-m", "grading.confined"]
        self._scratch = SCRATCH if isolation == "full" else _scratch_folder()
        self.as_root = False
        self._software = software
        self._said: IO[bytes] = os.fdopen(os.memfd_create("said"), "w+b")
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.door, inside = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, inside:
            descriptors = (theirs.fileno(), inside.fileno())
            self._process = subprocess.Popen(
                [*command, *map(str, descriptors)],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._said,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
        # If it has died already, `wait` says why.
        with contextlib.suppress(OSError):
            setup = orders.Setup(isolation, program, software, _forbidden(), self._scratch)
            self._control.send(orders.encode(setup))

    def wait(self) -> None:
        """Wait until it can fork. Raise SpawnerError if it cannot, or a lock does not hold."""
        self._control.settimeout(START_SECONDS)
        try:
            news = orders.decode_news(self._control.recv(orders.PACKET_LIMIT))
        except (OSError, msgspec.DecodeError) as error:
            words = filter(None, (link_outside(self._software), self._last_line()))
            raise SpawnerError(": ".join(words) or f"it did not start ({error})") from None
        if isinstance(news, orders.Failed):
            raise SpawnerError(news.reason)
        assert isinstance(news, orders.Ready)
        self.as_root = news.as_root
        if news.open:
            raise SpawnerError(f"a locked process was tested, and {' and '.join(news.open)}")

    def close(self) -> None:
        """End it, and with it everything it has started."""
        self._control.close()
        self.door.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        self._process.kill()
        self._process.wait()
        self._said.close()
        # If it was killed, what children have written is still there.
        if self._scratch != SCRATCH:
            scratch.remove(Path(self._scratch))

    def _last_line(self) -> str:
        self._process.kill()
        self._process.wait()
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip()[-2000:]
        # The last line of a traceback says what is wrong.
        return said.splitlines()[-1] if "Traceback" in said else said


def _scratch_folder() -> str:
    try:
        folder = tempfile.mkdtemp(dir=room())
        # The user that students' processes run as must be able to enter it.
        Path(folder).chmod(0o711)
    except OSError as error:
        raise SpawnerError(f"no folder for temporary files can be made ({error})") from None
    return folder


def _forbidden() -> list[str]:
    """Return existing files: one of the judge, and one of a package that is not for students."""
    found = map(find_spec, ("harness.judging.judge", "click"))
    return [spec.origin for spec in found if spec is not None and spec.origin]


def _environment(software: Software) -> dict[str, str]:
    """Return a small, fixed environment: nothing of the grader's own reaches students."""
    text = Path(__file__).with_name("environment.toml").read_text(encoding="utf-8")
    path = os.pathsep.join((str(PACKAGE_ROOT), *software.folders))
    return {"PYTHONPATH": path, **tomllib.loads(text)}
