"""A fresh process for each child, on systems that cannot fork: slower, and otherwise the same."""

import multiprocessing
import socket
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess

from grading.confined.channel import Channel, ChannelClosed, ChannelTimeout, ProtocolError
from grading.confined.orders import Ended
from grading.confined.spawner import Spawner, SpawnerError

START_SECONDS = 180.0


class FreshChild:
    """A child that was started as a process of its own."""

    def __init__(self, process: BaseProcess, channel: Channel) -> None:
        self._process = process
        self.channel = channel
        self._began = time.monotonic()

    def cpu_seconds(self) -> float:
        """Return the time since it began to serve: nothing else is known."""
        return time.monotonic() - self._began

    def end(self, grace: float = 0.0) -> Ended:
        """Kill it if it still runs after ``grace`` seconds, and return how it ended."""
        self.channel.close()
        self._process.join(grace)
        if killed := self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        return Ended(killed, code if code >= 0 else None, -code if code < 0 else None, 0.0)


class FreshProcesses(Spawner):
    """Starts a process for each child. No memory limit is set: such systems have none to set."""

    def child(self, memory_mib: int, cpu_seconds: float, modules: Sequence[str] = ()) -> FreshChild:
        """Return a new child, which takes as long as importing torch does.

        Raise SpawnerError if it does not start.
        """
        mine, theirs = socket.socketpair()
        with theirs:
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
        channel = Channel(mine)
        try:
            channel.receive(0, START_SECONDS)
        except (ChannelClosed, ChannelTimeout, ProtocolError):
            FreshChild(process, channel).end()
            raise SpawnerError("the student's process did not start") from None
        return FreshChild(process, channel)

    def close(self) -> None:
        """Do nothing: nothing is kept between children."""


def _serve(sock: socket.socket) -> None:
    """Serve as the child, after an empty frame that tells that it has started."""
    from grading.confined import child

    child.silence()
    child.prepare()
    Channel(sock).send(b"")
    child.serve(sock)
