"""A fresh process for each child, on systems that cannot fork: slower, and otherwise the same."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from grading.confined.channel import Channel, ChannelClosed, ChannelTimeout, ProtocolError
from grading.confined.orders import Ended
from grading.confined.spawner import SpawnerError

START_SECONDS = 180.0
HOST = "127.0.0.1"
TOKEN_BYTES = 32


class FreshChild:
    """A child that was started as a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], channel: Channel) -> None:
        self._process = process
        self._channel = channel
        self._began = time.monotonic()

    @property
    def channel(self) -> Channel:
        """The judge's end of the wire."""
        return self._channel

    def cpu_seconds(self) -> float:
        """The time since it began to serve: only the clock is known of it."""
        return time.monotonic() - self._began

    def end(self, grace: float = 0.0) -> Ended:
        """Kills it, if it still lives after ``grace`` seconds, and tells how it ended."""
        self._channel.close()
        killed = False
        try:
            code = self._process.wait(timeout=grace)
        except subprocess.TimeoutExpired:
            killed = True
            self._process.kill()
            code = self._process.wait()
        return Ended(killed, code if code >= 0 else None, -code if code < 0 else None, 0.0)


class FreshProcesses:
    """Starts a process for each child. No memory limit is set: such systems have none to set."""

    def child(self, memory_mib: int, cpu_seconds: float, modules: Sequence[str] = ()) -> FreshChild:
        """A new child; takes as long as importing torch. Raises SpawnerError where none comes."""
        token = secrets.token_bytes(TOKEN_BYTES)
        with socket.create_server((HOST, 0)) as server:
            process = subprocess.Popen(
                [sys.executable, "-m", "grading.sandbox.fresh", str(server.getsockname()[1])],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            )
            return FreshChild(process, _met(server, process, token))

    def close(self) -> None:
        """Nothing is kept between children."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _met(server: socket.socket, process: subprocess.Popen[bytes], token: bytes) -> Channel:
    """The channel to the process, once it has connected and shown the token it was given."""
    assert process.stdin is not None
    with process.stdin as stdin:
        stdin.write(token)
    until = time.monotonic() + START_SECONDS
    server.settimeout(1.0)
    while process.poll() is None and time.monotonic() < until:
        try:
            sock, _ = server.accept()
        except TimeoutError:
            continue
        channel = Channel(sock)
        if _shows(channel, token):
            return channel
        channel.close()
    process.kill()
    process.wait()
    raise SpawnerError("the student's process did not start")


def _shows(channel: Channel, token: bytes) -> bool:
    try:
        return secrets.compare_digest(channel.receive(TOKEN_BYTES, 5.0), token)
    except (ChannelClosed, ChannelTimeout, ProtocolError):
        return False


def main(port: int) -> None:
    """The child itself: connects, shows the token, and serves."""
    from grading.confined import child

    token = sys.stdin.buffer.read(TOKEN_BYTES)
    sock = socket.create_connection((HOST, port), timeout=START_SECONDS)
    Channel(sock).send(token)
    child.silence()
    child.prepare()
    child.serve(sock)


if __name__ == "__main__":
    main(int(sys.argv[1]))
