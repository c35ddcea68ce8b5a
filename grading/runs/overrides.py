"""Marks that an instructor gave in place of the automatic ones, kept with their reasons.

They lie in a file of their own beside the results, which no regrading touches.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import UNSET

from grading.errors import refusal
from grading.results.lines import RUN, Given, Overridden, Result, publish, replaced
from grading.results.record import hint, read_results
from grading.runs.journal import Busy, only_run_in
from harness.errors import UserError
from harness.show.visible import visible

FILE = "overrides.json"


class Override(msgspec.Struct, frozen=True):
    """Points for a submission, or for one ``check`` of it, and why.

    ``digest`` is that of the files it was made for, ``made`` the day.
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
        """The result with what the instructor gave in place of its marks, where there is any."""
        found = self._of.get(result.submission, [])
        if not found:
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
    """The overrides of the run in a folder. Raises UserError where they cannot be read."""
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).overrides
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except msgspec.DecodeError as error:
        raise UserError(
            f"{path} is damaged ({error}): mend it, or move it away to go without overrides."
        ) from None


def override(
    folder: Path,
    name: str,
    check: str | None,
    points: float,
    reason: str,
    *,
    allow_more: bool = False,
) -> Result:
    """Give points to a submission, or to one check of it, from now on; return its result.

    Raise UserError where there is no such submission or check, where the points are more than
    it is worth and not ``allow_more``, or where another run is writing.
    """
    with _alone(folder):
        results = read_results(folder)
        result = _named(results, name, folder)
        if check is not None and check not in (known := [each.id for each in result.checks]):
            raise UserError(f"No check of {visible(name)} is called {check}: {hint(check, known)}")
        if not allow_more:
            _judge_points(result, check, points)
        new = Override(name, check, points, reason, result.digest, date.today().isoformat())
        kept = [each for each in read_overrides(folder) if not _same(each, name, check)]
        return _publish(folder, results, [*kept, new], name)


def _judge_points(result: Result, check: str | None, points: float) -> None:
    worth = {each.id: each.max_points for each in result.checks}
    most = result.max_score if check is None else worth[check]
    if points > most + 1e-9:
        what = f"{check} of {visible(result.submission)}" if check else visible(result.submission)
        raise UserError(
            f"{points:g} is more than the {most:g} points that {what} is worth: add --allow-more "
            "if that is meant."
        )


def remove(folder: Path, name: str, check: str | None) -> Result:
    """Takes an override back; returns the result. Raises UserError where there is none."""
    with _alone(folder):
        results = read_results(folder)
        _named(results, name, folder)
        before = read_overrides(folder)
        kept = [each for each in before if not _same(each, name, check)]
        if len(kept) == len(before):
            what = f"the check {check} of {visible(name)}" if check else visible(name)
            raise UserError(f"{folder / FILE} has no override for {what}.")
        return _publish(folder, results, kept, name)


def _publish(
    folder: Path, results: Sequence[Result], overrides: Sequence[Override], name: str
) -> Result:
    """Writes the overrides, then the results that come of them."""
    in_order = sorted(overrides, key=lambda each: (each.submission, each.check or ""))
    try:
        run = json.loads((folder / RUN).read_bytes())
        with replaced(folder / FILE) as file:
            data = msgspec.json.encode(_File(1, in_order))
            file.write(msgspec.json.format(data, indent=2) + b"\n")
        applied = [Overrides(overrides).applied(result) for result in results]
        publish(folder, applied, run)
    except OSError as error:
        raise UserError(refusal(error, folder, "read or written")) from None
    except json.JSONDecodeError as error:
        raise UserError(f"{folder / RUN} is damaged ({error}): grade again.") from None
    return _named(applied, name, folder)


def _same(override: Override, name: str, check: str | None) -> bool:
    return (override.submission, override.check) == (name, check)


def _named(results: Sequence[Result], name: str, folder: Path) -> Result:
    for result in results:
        if result.submission == name:
            return result
    names = [result.submission for result in results]
    raise UserError(f"{folder} has no submission called {visible(name)}: {hint(name, names)}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with only_run_in(folder):
            yield
    except Busy:
        raise UserError(f"A run is writing to {folder}: wait until it has ended.") from None
    except FileNotFoundError:
        raise UserError(
            f"{folder} is not there: give the folder that `backprop grade` wrote with --out."
        ) from None
