"""How far a training is, while it runs: in a notebook, on a terminal, and nowhere else.

Nothing of it is left when it ends, and nothing of it goes to stderr, where nbgrader would take it
for a failure.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Protocol

# Seconds between two pictures of how far it is.
PAUSE = 0.1


class Tell(Protocol):
    """Takes how far it is: what is being done, so many steps of so many, and the cost, if any."""

    def __call__(self, what: str, done: int, total: int, cost: float | None = None) -> None: ...


@contextmanager
def progress() -> Iterator[Tell]:
    """A bar that follows what it is told, and is gone at the end."""
    if _in_notebook():
        with _notebook_bar() as tell:
            yield tell
    elif sys.stdout.isatty():
        with _terminal_bar() as tell:
            yield tell
    else:
        yield _nothing


def progress_html(what: str, done: int, total: int, cost: float | None = None) -> str:
    """The bar as a piece of HTML that stands by itself."""
    said = _said(what, done, total, cost)
    bar = f'<progress max="{total}" value="{done}" style="width: 18em; vertical-align: middle">'
    return f'<div role="status">{bar}</progress> {escape(said)}</div>'


def _said(what: str, done: int, total: int, cost: float | None) -> str:
    told = f"{what}: step {done} of {total}"
    return told if cost is None else f"{told}, cost {cost:.3f}"


def _nothing(what: str, done: int, total: int, cost: float | None = None) -> None:
    pass


def _in_notebook() -> bool:
    """Whether a kernel runs this code, for a notebook to show what it displays."""
    # Whoever has no IPython loaded is in no notebook, and where nbgrader runs it nobody looks.
    if "IPython" not in sys.modules or "NBGRADER_EXECUTION" in os.environ:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


@contextmanager
def _notebook_bar() -> Iterator[Tell]:
    from IPython.display import DisplayHandle, display

    handle: DisplayHandle | None = None
    last = 0.0

    def tell(what: str, done: int, total: int, cost: float | None = None) -> None:
        nonlocal handle, last
        now = time.monotonic()
        if handle and now - last < PAUSE and done < total:
            return
        last = now
        data = {
            "text/html": progress_html(what, done, total, cost),
            "text/plain": _said(what, done, total, cost),
        }
        if handle is None:
            handle = display(data, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(data, raw=True)  # type: ignore[no-untyped-call]

    try:
        yield tell
    finally:
        # Clearing the cell would take with it what the student's own code has printed.
        if handle is not None:
            handle.update({"text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]


@contextmanager
def _terminal_bar() -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(), TextColumn("{task.description}", markup=False))
    bar = Progress(
        *columns,
        console=Console(file=sys.stdout),
        transient=True,
        redirect_stderr=False,
        redirect_stdout=False,
    )
    with bar:
        task = bar.add_task("")

        def tell(what: str, done: int, total: int, cost: float | None = None) -> None:
            bar.update(
                task, completed=done, total=total, description=_said(what, done, total, cost)
            )

        yield tell
