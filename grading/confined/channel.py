"""Frames over a socket: four bytes of length, then the payload, with deadlines and caps."""

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


class Channel:
    """One end of a stream socket that carries frames."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        # Room for the length of the next frame, and for the frame when that is known; and how
        # many bytes have arrived.
        self._data = bytearray(LENGTH.size)
        self._filled = 0

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

    def receive(self, limit: int, timeout: float | None = None) -> memoryview:
        """Return the next frame; its length and the rest have ``timeout`` seconds each.

        Raise ProtocolError for a frame of more than ``limit`` bytes before it is read.
        """
        if len(self._data) == LENGTH.size:
            self._fill(timeout)
            (length,) = LENGTH.unpack(self._data)
            if length > limit:
                raise ProtocolError(f"a frame of {length} bytes")
            self._data = bytearray(LENGTH.size + length)
        self._fill(timeout)
        frame = memoryview(self._data)[LENGTH.size :]
        self._data, self._filled = bytearray(LENGTH.size), 0
        return frame

    def has_unread(self) -> bool:
        """Return whether there are bytes that have not been asked for yet."""
        if self._filled:
            return True
        self._socket.setblocking(False)
        try:
            return bool(self._socket.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _fill(self, timeout: float | None) -> None:
        until = None if timeout is None else time.monotonic() + timeout
        with memoryview(self._data) as view:
            while self._filled < len(view):
                # The deadline is for all of it: a byte now and then does not extend it.
                self._socket.settimeout(until and max(until - time.monotonic(), 1e-3))
                try:
                    count = self._socket.recv_into(view[self._filled :])
                except TimeoutError:
                    raise ChannelTimeout from None
                except OSError:
                    raise ChannelClosed from None
                if not count:
                    raise ChannelClosed
                self._filled += count
