"""Stop a run cleanly when a person or the system asks for it."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Stopped(BaseException):
    """A signal asks the run to stop. It is not an error, so that nothing handles it as one.

    ``said`` is what to tell a person.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number
        self.said = "Stopped."


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise Stopped in the block on Ctrl-C, SIGTERM and SIGHUP; a second one ends all at once."""
    with _handled_by(_stop):
        yield


def exit_stopped(stop: Stopped) -> NoReturn:
    """End the process with what it says last; further signals bring no traceback."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    click.echo(stop.said, err=True)
    for each in SIGNALS:
        signal.signal(each, signal.SIG_DFL)
    sys.exit(stop.exit_code)


@contextmanager
def unstoppable() -> Iterator[None]:
    """Make the same signals wait until the block, a short one, has run."""
    came: list[int] = []
    with _handled_by(lambda number, _frame: came.append(number)):
        yield
    for number in came[:1]:
        signal.raise_signal(number)


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    # What is ignored already (by nohup, say) stays ignored.
    caught = [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    before = {each: signal.signal(each, handler) for each in caught}
    try:
        yield
    finally:
        for each, old in before.items():
            signal.signal(each, old)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    for each in SIGNALS:
        if signal.getsignal(each) is _stop:
            signal.signal(each, _end)
    raise Stopped(number)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    # Whatever is being printed at the moment is left as it is.
    os.write(2, b"\nStopped at once; what has been graded is kept.\n")
    os._exit(128 + number)
