"""Marks that an instructor gave in place of the automatic ones, kept with their reasons.

They are in a separate file next to the results, which regrading does not change.
"""

import json
import math
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET

from grading.errors import refusals
from grading.results.lines import RUN, Given, Overridden, Result, publish, replaced
from grading.results.record import LazyResults, hint, read_results, read_run
from grading.runs.journal import only_run_in
from harness.drawing.visible import visible
from harness.errors import UserError

FILE = "overrides.json"


class Override(msgspec.Struct, frozen=True):
    """Points for a submission, or for one ``check`` of it, and why.

    ``digest`` is that of the files at the time, ``made`` the date.
    """

    submission: str
    check: str | None
    points: float
    reason: str
    digest: str
    made: str


class _File(msgspec.Struct, frozen=True):
    schema: Literal[1]
    overrides: list[Override]


class Overrides:
    """All overrides of a run."""

    def __init__(self, all_: Iterable[Override]) -> None:
        self._of: dict[str, list[Override]] = {}
        for each in all_:
            self._of.setdefault(each.submission, []).append(each)

    def gives(self, name: str) -> bool:
        """Return whether a submission as a whole has its mark from the instructor."""
        return any(each.check is None for each in self._of.get(name, ()))

    def applied(self, result: Result) -> Result:
        """Return the result with the marks that the instructor gave, if any."""
        if not (found := self._of.get(result.submission, [])):
            return msgspec.structs.replace(result, override=UNSET)
        given = {
            each.check: Given(each.points, each.reason, each.digest != result.digest)
            for each in found
        }
        whole = given.pop(None, None)
        checks = {id: each for id, each in given.items() if id is not None}
        override = Overridden(_score(result, whole, checks), whole, checks)
        return msgspec.structs.replace(result, override=override)


def _score(result: Result, whole: Given | None, checks: dict[str, Given]) -> float | None:
    if whole:
        return whole.points
    if result.score is None:
        return None
    moved = (
        checks[check.id].points - check.points for check in result.checks if check.id in checks
    )
    return round(math.fsum((result.score, *moved)), 9)


def read_overrides(folder: Path) -> list[Override]:
    """Return the overrides of the run in a folder. Raise UserError if they cannot be read."""
    path = folder / FILE
    if not path.exists():
        return []
    try:
        with refusals(path):
            return msgspec.json.decode(path.read_bytes(), type=_File).overrides
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is damaged ({error}): repair it, or move it away to use no overrides."
        ) from None


def override(
    folder: Path,
    name: str,
    check: str | None,
    points: float | None,
    reason: str = "",
    *,
    allow_more: bool = False,
) -> Result:
    """Give points to a submission, or to one check of it, from now on; return its result.

    If ``points`` is None, remove the override. Raise UserError if there is no such submission,
    check or override, if the points are more than it is worth and not ``allow_more``, or if
    another run is writing.
    """
    read_run(folder)
    with only_run_in(folder):
        results = read_results(folder)
        if name not in results.names:
            near = hint(name, results.names)
            raise UserError(f"{folder} has no submission called {visible(name)}: {near}")
        result = results.named(name)
        before = read_overrides(folder)
        kept = [each for each in before if (each.submission, each.check) != (name, check)]
        what = f"{check} of {visible(name)}" if check else visible(name)
        if points is not None:
            most = _worth(result, check)
            if points > most + 1e-9 and not allow_more:
                raise UserError(
                    f"{points:g} is more than the {most:g} points that {what} is worth: add "
                    "--allow-more if that is intended."
                )
            today = date.today().isoformat()
            kept.append(Override(name, check, points, reason, result.digest, today))
        elif len(kept) == len(before):
            raise UserError(f"{folder / FILE} has no override for {what}.")
        return _publish(folder, results, kept, name)


def _worth(result: Result, check: str | None) -> float:
    if check is None:
        return result.max_score
    worth = {each.id: each.max_points for each in result.checks}
    if check not in worth:
        name = visible(result.submission)
        raise UserError(f"{name} has no check called {check}: {hint(check, worth)}")
    return worth[check]


def _publish(
    folder: Path, results: LazyResults, overrides: Sequence[Override], name: str
) -> Result:
    """Write the overrides, then the results with them; return that of one submission."""
    applied = Overrides(overrides).applied
    with refusals(folder, "read or written"):
        run = json.loads((folder / RUN).read_bytes())
        result = applied(results.named(name))
        write_overrides(folder, overrides)
        publish(folder, LazyResults(results.names, lambda name: applied(results.named(name))), run)
    return result


def write_overrides(folder: Path, overrides: Iterable[Override]) -> None:
    """Replace the overrides of the run in a folder. Raise OSError if that is impossible."""
    in_order = sorted(overrides, key=lambda each: (each.submission, each.check or ""))
    with replaced(folder / FILE) as file:
        data = msgspec.json.encode(_File(1, in_order))
        file.write(msgspec.json.format(data, indent=2) + b"\n")
