"""Where children come from: what every way of making a student's process has in common."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from grading.confined.channel import Channel

if TYPE_CHECKING:
    from grading.confined.orders import Ended


class SpawnerError(Exception):
    """Students' processes cannot be made: the grader's fault, nobody's mark."""


class Child(Protocol):
    """A student's process: the channel to it, and how to end it."""

    @property
    def channel(self) -> Channel:
        """The judge's end of the wire."""
        ...

    def cpu_seconds(self) -> float:
        """The processor time it has used; by the clock, where the system does not tell."""
        ...

    def end(self, grace: float = 0.0) -> Ended:
        """Kills it, if it still lives after ``grace`` seconds, and tells how it ended."""
        ...


class Spawner(Protocol):
    """Makes children, one after the other."""

    def child(self, memory_mib: int, cpu_seconds: float, modules: Sequence[str] = ()) -> Child:
        """Return a new child, with limits of the kernel's own and ``modules`` loaded.

        Raises SpawnerError where none comes.
        """
        ...

    def close(self) -> None:
        """Ends everything it has made."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
