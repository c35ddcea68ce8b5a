"""The progress of a training while it runs: in a notebook, on a terminal, and nowhere else.

Nothing of it stays when it ends, and nothing of it goes to stderr, which nbgrader takes for a
failure.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from harness.language import tr

# Seconds between two updates of a notebook's bar.
PAUSE = 0.1


class Tell(Protocol):
    """Reports progress: the steps done, all steps, and the cost if known."""

    def __call__(self, done: int, total: int, cost: float | None = None) -> None:
        """Report the progress."""


@contextmanager
def progress() -> Iterator[Tell]:
    """Show a bar that follows what it is told, and disappears at the end."""
    if _in_notebook():
        with _notebook_bar() as tell:
            yield tell
    elif sys.stdout.isatty():
        with _terminal_bar() as tell:
            yield tell
    else:
        yield lambda done, total, cost=None: None


def progress_html(done: int, total: int, cost: float | None = None) -> str:
    """Return the bar as a self-contained piece of HTML."""
    bar = f'<progress max="{total}" value="{done}" style="width: 18em; vertical-align: middle">'
    return f'<div role="status">{bar}</progress> {_said(done, total, cost)}</div>'


def _said(done: int, total: int, cost: float | None) -> str:
    said = tr("Training: step {done} of {total}").format(done=done, total=total)
    return said if cost is None else tr("{said}, cost {cost}").format(said=said, cost=f"{cost:.3f}")


def _in_notebook() -> bool:
    """Return whether a kernel that somebody watches runs this code."""
    # Without IPython loaded there is no notebook, and if nbgrader runs one, nobody is watching.
    if "IPython" not in sys.modules or "NBGRADER_EXECUTION" in os.environ:
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


@contextmanager
def _notebook_bar() -> Iterator[Tell]:
    from IPython.display import DisplayHandle

    handle = DisplayHandle()  # type: ignore[no-untyped-call]
    last = 0.0

    def tell(done: int, total: int, cost: float | None = None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < PAUSE and done < total:
            return
        show = handle.update if last else handle.display
        last = now
        html, text = progress_html(done, total, cost), _said(done, total, cost)
        show({"text/html": html, "text/plain": text}, raw=True)  # type: ignore[no-untyped-call]

    try:
        yield tell
    finally:
        # Clearing the cell would also remove what the student's own code has printed.
        if last:
            handle.update({"text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]


@contextmanager
def _terminal_bar() -> Iterator[Tell]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        console=Console(file=sys.stdout),
        transient=True,
        redirect_stderr=False,
        redirect_stdout=False,
    )
    with bar:
        task = bar.add_task("")

        def tell(done: int, total: int, cost: float | None = None) -> None:
            bar.update(task, completed=done, total=total, description=_said(done, total, cost))

        yield tell
