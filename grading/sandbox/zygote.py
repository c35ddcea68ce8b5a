"""A warm process that has imported torch already and forks a child for each submission."""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from grading.sandbox.channel import Channel, ChannelClosed, ChannelTimeout, ProtocolError
from grading.sandbox.nursery import Ended, NurseryError

START_SECONDS = 180.0
CONTROL_SECONDS = 60.0
CONTROL_LIMIT = 64 * 1024


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The zygote can fork."""


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """Fork a child for the socket that comes along with this message."""

    memory_mib: int


class Forked(msgspec.Struct, frozen=True, tag="forked"):
    """The child's process id."""

    pid: int


class End(msgspec.Struct, frozen=True, tag="end"):
    """Reap a child; kill it if it still lives after ``grace`` seconds."""

    pid: int
    grace: float


_encode = msgspec.msgpack.Encoder().encode
_orders = msgspec.msgpack.Decoder(Fork | End)
_news = msgspec.msgpack.Decoder(Ready | Forked | Ended)


News = TypeVar("News", Ready, Forked, Ended)


class ForkedChild:
    """A forked child: the channel to it, and how to end it."""

    def __init__(self, zygote: Zygote, pid: int, channel: Channel) -> None:
        self._zygote = zygote
        self.pid = pid
        self.channel = channel
        self._began = time.monotonic()

    def cpu_seconds(self) -> float:
        """The processor time it has used; by the clock, where the system does not tell."""
        try:
            text = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return time.monotonic() - self._began
        after_name = text.rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def end(self, grace: float = 0.0) -> Ended:
        """Kills it, if it still lives after ``grace`` seconds, and tells how it ended."""
        self.channel.close()
        return self._zygote.end(self.pid, grace)


class Zygote:
    """The warm process, as the judge's side holds it: a context manager.

    It starts at once and takes a second or two to warm up, which nobody has to wait for.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="backprop-")
        mine, theirs = socket.socketpair()
        self._socket = mine
        self._channel = Channel(mine)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "grading.sandbox.zygote", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=self._folder.name,
                env=_environment(),
                start_new_session=True,
            )
        self._ready = False

    def child(self, memory_mib: int) -> ForkedChild:
        """A new child; the first waits until the zygote is warm.

        Raises NurseryError where the zygote is gone.
        """
        if not self._ready:
            self._expect(Ready, START_SECONDS)
            self._ready = True
        mine, theirs = socket.socketpair()
        try:
            self._send(Fork(memory_mib))
            socket.send_fds(self._socket, [b"+"], [theirs.fileno()])
            pid = self._expect(Forked, CONTROL_SECONDS).pid
        except (OSError, NurseryError) as error:
            mine.close()
            raise NurseryError(str(error)) from None
        finally:
            theirs.close()
        return ForkedChild(self, pid, Channel(mine))

    def end(self, pid: int, grace: float = 0.0) -> Ended:
        """Kills and reaps a child. Raises NurseryError where the zygote is gone."""
        self._send(End(pid, grace))
        return self._expect(Ended, CONTROL_SECONDS)

    def close(self) -> None:
        """Ends the zygote and every child."""
        self._channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        self._process.kill()
        self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, order: Fork | End) -> None:
        try:
            self._channel.send(_encode(order), CONTROL_SECONDS)
        except (ChannelClosed, ChannelTimeout):
            raise NurseryError("the process that forks children is gone") from None

    def _expect(self, kind: type[News], timeout: float) -> News:
        try:
            news = _news.decode(self._channel.receive(CONTROL_LIMIT, timeout))
        except (ChannelClosed, ChannelTimeout, ProtocolError, msgspec.DecodeError) as error:
            raise NurseryError(
                f"the process that forks children failed: {str(error) or type(error).__name__}"
                f"{self._last_words()}"
            ) from None
        if not isinstance(news, kind):
            raise NurseryError(f"the process that forks children answered {news!r}")
        return news

    def _last_words(self) -> str:
        self._process.kill()
        _, said = self._process.communicate()
        return f"; it said: {said.decode(errors='replace')[-2000:]}" if said else ""


def main(control: int) -> None:
    """The zygote itself: forks and ends children as it is told on the socket ``control``."""
    import torch

    from grading.sandbox import child  # noqa: F401

    torch.set_num_threads(1)
    _warm()
    gc.collect()
    gc.freeze()
    sock = socket.socket(fileno=control)
    channel = Channel(sock)
    channel.send(_encode(Ready()))
    alive: set[int] = set()
    try:
        while True:
            match _orders.decode(channel.receive(CONTROL_LIMIT)):
                case Fork(memory_mib):
                    _, (descriptor,), *_ = socket.recv_fds(sock, 1, 1)
                    pid = _fork(sock, descriptor, memory_mib)
                    alive.add(pid)
                    channel.send(_encode(Forked(pid)))
                case End(pid, grace):
                    if pid in alive:
                        alive.remove(pid)
                        channel.send(_encode(_reap(pid, grace)))
    except ChannelClosed:
        for pid in alive:
            os.kill(pid, signal.SIGKILL)


def _warm() -> None:
    """Runs a Function there and back once, so that no child pays for what torch loads late."""
    import torch

    from harness.candidate import Backward, Forward
    from harness.workbench import Workbench

    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, value: torch.Tensor) -> torch.Tensor:
            return 2 * value

        @staticmethod
        def backward(ctx: object, upstream: torch.Tensor) -> torch.Tensor:
            return 2 * upstream

    ones = torch.ones(2, 2, dtype=torch.float64)
    Workbench({"Twice": Twice}).perform(
        [Forward(1, "Twice", (ones,), (True,)), Backward(1, torch.sigmoid(ones @ ones))]
    )


def _fork(control: socket.socket, descriptor: int, memory_mib: int) -> int:
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    # The child must never return into the zygote's loop, whatever happens.
    code = 1
    try:
        from grading.sandbox import child

        control.close()
        os.setsid()
        child.silence()
        _limit(memory_mib)
        child.serve(socket.socket(fileno=descriptor))
        code = 0
    finally:
        os._exit(code)


def _limit(memory_mib: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pages = Path("/proc/self/statm")
    if pages.exists():
        used = int(pages.read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
        most = used + memory_mib * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _reap(pid: int, grace: float) -> Ended:
    until = time.monotonic() + grace
    reaped, status, usage = os.wait4(pid, os.WNOHANG)
    while not reaped and time.monotonic() < until:
        time.sleep(0.005)
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
    if not reaped:
        os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    # What it started belongs to its session, and goes with it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return Ended(
        not reaped,
        os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        usage.ru_utime + usage.ru_stime,
    )


def _environment() -> dict[str, str]:
    """A small, fixed environment: nothing of the grader's own reaches the students' processes."""
    package_root = str(Path(__file__).resolve().parents[2])
    fixed = {
        "PYTHONPATH": package_root,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "LANG": "C.UTF-8",
    }
    return fixed | {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


if __name__ == "__main__":
    main(int(sys.argv[1]))
