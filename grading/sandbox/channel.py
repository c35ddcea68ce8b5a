"""Frames over a socket: four bytes of length, then the payload, with deadlines and caps."""

from __future__ import annotations

import socket
import struct
import time

LENGTH = struct.Struct(">I")
PART = 1 << 18


class ChannelClosed(Exception):
    """The other side is gone."""


class ChannelTimeout(Exception):
    """Nothing complete came in time. What has come so far is kept for the next call."""


class ProtocolError(Exception):
    """The other side broke the rules of the wire."""


class Channel:
    """One end of a stream socket that carries frames."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()

    def send(self, payload: bytes, timeout: float | None = None) -> None:
        """Sends one frame. Raises ChannelClosed, or ChannelTimeout if the other side stops
        reading for ``timeout`` seconds."""
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(LENGTH.pack(len(payload)) + payload)
        except TimeoutError:
            raise ChannelTimeout from None
        except OSError:
            raise ChannelClosed from None

    def receive(self, limit: int, timeout: float | None = None) -> bytes:
        """The next frame, ``timeout`` seconds at most for its length, and for the rest.

        Raises ProtocolError for a frame of more than ``limit`` bytes before it is read.
        """
        self._fill(LENGTH.size, timeout)
        (length,) = LENGTH.unpack_from(self._buffer)
        if length > limit:
            raise ProtocolError(f"a frame of {length} bytes")
        end = LENGTH.size + length
        self._fill(end, timeout)
        with memoryview(self._buffer) as view:
            frame = bytes(view[LENGTH.size : end])
        del self._buffer[:end]
        return frame

    def has_unread(self) -> bool:
        """Whether bytes have come that no call has asked for yet."""
        if self._buffer:
            return True
        self._socket.setblocking(False)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def close(self) -> None:
        """Closes this end."""
        self._socket.close()

    def _fill(self, size: int, timeout: float | None) -> None:
        if len(self._buffer) >= size:
            return
        until = None if timeout is None else time.monotonic() + timeout
        while len(self._buffer) < size:
            # The deadline is for the whole of it: a byte now and then does not extend it.
            self._socket.settimeout(until and max(until - time.monotonic(), 1e-3))
            try:
                part = self._socket.recv(PART)
            except TimeoutError:
                raise ChannelTimeout from None
            except OSError:
                raise ChannelClosed from None
            if not part:
                raise ChannelClosed
            self._buffer += part
