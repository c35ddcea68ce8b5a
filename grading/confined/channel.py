"""Frames over a socket: four bytes of length, then the payload, with deadlines and caps."""

from __future__ import annotations

import socket
import struct
import time

LENGTH = struct.Struct(">I")
# Shorter frames are sent in one piece, at the cost of a copy.
COPIED = 64 * 1024


class ChannelClosed(Exception):
    """The other side is gone."""


class ChannelTimeout(Exception):
    """No complete frame came in time. What has arrived is kept for the next call."""


class ProtocolError(Exception):
    """The other side broke the rules of the wire."""


class _Part:
    """Bytes of which some have arrived."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.filled = 0


class Channel:
    """One end of a stream socket that carries frames."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._length = _Part(LENGTH.size)
        self._frame: _Part | None = None

    def send(self, payload: bytes, timeout: float | None = None) -> None:
        """Send one frame.

        Raise ChannelClosed, or ChannelTimeout if the other side stops reading for ``timeout``
        seconds.
        """
        self._socket.settimeout(timeout)
        try:
            head = LENGTH.pack(len(payload))
            if len(payload) < COPIED:
                self._socket.sendall(head + payload)
            else:
                self._socket.sendall(head)
                self._socket.sendall(payload)
        except TimeoutError:
            raise ChannelTimeout from None
        except OSError:
            raise ChannelClosed from None

    def receive(self, limit: int, timeout: float | None = None) -> bytearray:
        """Return the next frame; its length and the rest have ``timeout`` seconds each.

        Raise ProtocolError for a frame of more than ``limit`` bytes before it is read.
        """
        if self._frame is None:
            self._fill(self._length, timeout)
            (length,) = LENGTH.unpack(self._length.data)
            if length > limit:
                raise ProtocolError(f"a frame of {length} bytes")
            self._frame = _Part(length)
        frame = self._frame
        self._fill(frame, timeout)
        self._length, self._frame = _Part(LENGTH.size), None
        return frame.data

    def has_unread(self) -> bool:
        """Return whether there are bytes that have not been asked for yet."""
        if self._length.filled:
            return True
        self._socket.setblocking(False)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _fill(self, part: _Part, timeout: float | None) -> None:
        if part.filled == len(part.data):
            return
        until = None if timeout is None else time.monotonic() + timeout
        with memoryview(part.data) as view:
            while part.filled < len(view):
                # The deadline is for all of it: a byte now and then does not extend it.
                self._socket.settimeout(until and max(until - time.monotonic(), 1e-3))
                try:
                    count = self._socket.recv_into(view[part.filled :])
                except TimeoutError:
                    raise ChannelTimeout from None
                except OSError:
                    raise ChannelClosed from None
                if not count:
                    raise ChannelClosed
                part.filled += count
