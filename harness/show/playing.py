"""What the course's notebooks try out with: predictions, attempts, and the look of plots."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from harness.language import tr

_T = TypeVar("_T")

# Of text and lines in plots: it stands out from white and from black.
INK = "#7a7a7a"


def predicted(guess: object, truth: float, *, within: float | None = 0.02) -> None:
    """Print whether a student's guess is right, without the answer.

    It may be off by the share ``within``; with None, only its sign counts.
    """
    if guess is None:
        print(tr("Put your number in place of None."))
    elif not isinstance(guess, int | float) or guess != guess:
        print(tr("That is not a number."))
    elif guess * truth < 0 or (guess == 0) != (truth == 0):
        print(tr("No: look at the sign."))
    elif within is None or abs(guess - truth) <= within * abs(truth):
        print(tr("Right."))
    else:
        large = tr("The sign is right; the size is too large.")
        small = tr("The sign is right; the size is too small.")
        print(large if abs(guess) > abs(truth) else small)


def attempt(make: Callable[[], _T]) -> _T | None:
    """Return what ``make`` returns; None if something is missing or raises, which is printed."""
    try:
        return make()
    except NotImplementedError:
        print(tr("Something is still to be written; then this cell shows more."))
    except Exception as error:  # whatever a student's code raises: the checks say more
        said = tr("Your code raised {kind}: {error}; its check says more.")
        print(said.format(kind=type(error).__name__, error=error))
    return None


def plot_style() -> None:
    """Have matplotlib draw on a clear ground, in colours that suit light and dark pages."""
    import matplotlib as mpl

    mpl.rc("figure", facecolor="none", dpi=100)
    mpl.rc("savefig", facecolor="none")
    mpl.rc("axes", facecolor="none", edgecolor=INK, labelcolor=INK)
    mpl.rc("axes.spines", top=False, right=False)
    mpl.rc("text", color=INK)
    mpl.rc("legend", facecolor="none", edgecolor="none")
    mpl.rc("xtick", color=INK)
    # Where labels are all dark, or all light, Jupyter lays white or black behind a clear plot.
    mpl.rc("ytick", color=INK, labelcolor="#838383")
