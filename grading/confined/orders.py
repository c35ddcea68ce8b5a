"""Messages between the judge's side and the warm process, each of them one packet."""

from collections.abc import Callable
from typing import Literal

import msgspec

from grading.confined.software import Software

Isolation = Literal["full", "partial", "minimal"]
PACKET_LIMIT = 128 * 1024
# Sent with the socket of a worker that connects.
KNOCK = b"knock"


class Setup(msgspec.Struct, frozen=True, tag="setup"):
    """How to lock children down.

    ``seccomp`` is the program for that level, if any, and ``software`` what they are given. They
    must not be able to read ``forbidden`` files; their temporary ones go into ``scratch``.
    """

    isolation: Isolation
    seccomp: bytes
    software: Software
    forbidden: list[str]
    scratch: str


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """Children can be forked.

    ``open`` names what the locks failed to stop when tried; ``as_root``: children stay root.
    """

    open: list[str]
    as_root: bool


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Import modules that are slow to import, for all children to come."""

    modules: tuple[str, ...]


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The modules are loaded."""


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """Fork the child ``number`` for the socket that comes along with this packet.

    A ``lasting`` child keeps running when others are forked, and ends none.
    """

    number: int
    memory_mib: int
    cpu_seconds: int
    lasting: bool = False


class Look(msgspec.Struct, frozen=True, tag="look"):
    """Tell what a child has used so far."""

    number: int


class Seen(msgspec.Struct, frozen=True, tag="seen"):
    """The processor time that a child has used."""

    cpu_seconds: float


class End(msgspec.Struct, frozen=True, tag="end"):
    """Reap a child; kill it if it still runs after ``grace`` seconds."""

    number: int
    grace: float


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """How a child ended: its exit code or the number of the signal, and the seconds it used.

    ``killed`` tells that it had to be killed, and ``excess`` what it had too much of, if that is
    why it was killed before anybody asked for its end.
    """

    killed: bool
    exit_code: int | None
    signal: int | None
    cpu_seconds: float
    excess: str = ""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The order could not be carried out, and why."""

    reason: str


Order = Setup | Load | Fork | Look | End
News = Ready | Loaded | Seen | Ended | Failed

# A message as one packet, and back. Anything else raises msgspec.DecodeError.
encode = msgspec.msgpack.Encoder().encode
decode_order: Callable[[bytes], Order] = msgspec.msgpack.Decoder(Order).decode
decode_news: Callable[[bytes], News] = msgspec.msgpack.Decoder(News).decode
