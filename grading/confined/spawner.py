"""Where children come from: what every way of starting a student's process has in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, Self

from grading.confined.channel import Channel

if TYPE_CHECKING:
    from grading.confined.orders import Ended


class SpawnerError(Exception):
    """Students' processes cannot be started: a fault of the grader, which costs no marks."""


class Closing(Protocol):
    """Something to close, which a ``with`` block does."""

    def close(self) -> None:
        """Release everything it holds. Can be repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


class Child(Protocol):
    """A student's process: the judge's end of the channel to it, and how to end it."""

    @property
    def channel(self) -> Channel:
        """The judge's end of the channel to the process."""
        ...

    def cpu_seconds(self) -> float:
        """Return the processor time it has used; wall-clock time where that is all there is."""
        ...

    def end(self, grace: float = 0.0) -> Ended:
        """Kill it if it still runs after ``grace`` seconds, and return how it ended."""
        ...


class Spawner(Closing, Protocol):
    """Starts children, one after the other, and ends them when it is closed."""

    def child(self, memory_mib: int, cpu_seconds: float, modules: Sequence[str] = ()) -> Child:
        """Return a new child, with limits of the kernel's own and ``modules`` loaded.

        Raise SpawnerError if it cannot be started.
        """
        ...

    def lasting_child(self, memory_mib: int, cpu_seconds: float) -> Child:
        """Return a new child that does not end when another starts. Raise as `child` does.

        It never runs a student's code.
        """
        return self.child(memory_mib, cpu_seconds)
