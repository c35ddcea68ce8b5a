"""What an instructor sets for an assignment, read from ``assignment.toml`` and validated."""

import datetime
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from harness.course.report import Check, FlagKind, Report
from harness.errors import UserError, did_you_mean

FEEDBACK_LEVELS = ("verdict", "where", "hint", "formula", "solution")
SETTINGS_FILE = "assignment.toml"
ATTEMPTS = ("latest", "best")
# As the packaging standard spells names.
_DISTRIBUTION = r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?"
Consequence = Literal["flag", "zero", "ignore"]


class SettingsError(UserError, ValueError):
    """The settings cannot be used; the message says which one, where, and what to do."""


@dataclass(frozen=True)
class Limits:
    """The resources for one submission: processor time in seconds, memory in MiB."""

    call_seconds: float = 5.0
    submission_seconds: float = 300.0
    memory_mib: int = 2048


@dataclass(frozen=True)
class Settings:
    """What an instructor can set for an assignment.

    ``points`` maps ids of checks to points, which override the declared ones. ``policy`` maps a
    kind of flag to its consequence: a flag for a person to judge (the default), no points for the
    stage, or nothing. ``attempts`` chooses between several attempts of a student. ``packages``
    names the distributions that students may import beside torch and numpy. ``deadline``, in ISO
    8601, is only to tell how late something is.
    """

    points: Mapping[str, float] = field(default_factory=dict)
    feedback: str = "formula"
    policy: Mapping[FlagKind, Consequence] = field(default_factory=dict)
    limits: Limits = Limits()
    attempts: str = "latest"
    packages: tuple[str, ...] = ()
    deadline: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as JSON-ready data."""
        return {**asdict(self), "packages": list(self.packages)}

    def shows(self, level: str) -> bool:
        """Return whether a student may see what belongs to the feedback level ``level``."""
        return FEEDBACK_LEVELS.index(self.feedback) >= FEEDBACK_LEVELS.index(level)


def for_student(report: Report, settings: Settings) -> Report:
    """Return the report without staff texts, and without what its level of feedback withholds.

    Messages are written for that level already.
    """
    return replace(report, checks=tuple(_shown(check, settings) for check in report.checks))


def _shown(check: Check, settings: Settings) -> Check:
    diagnosis = check.diagnosis if settings.shows("formula") else None
    if diagnosis and not settings.shows("solution"):
        diagnosis = replace(diagnosis, expected="")
    return replace(check, staff="", case=None, diagnosis=diagnosis)


def load_settings(path: Path, assignment: str) -> Settings:
    """Return the settings in the TOML file at ``path``, which must be for ``assignment``.

    Raise SettingsError if the file is not TOML, is for another assignment, or has an unknown key
    or an invalid value.
    """
    try:
        return _settings(tomllib.loads(path.read_text(encoding="utf-8")), assignment)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}.") from error


def settings_beside(folder: Path, assignment: str) -> Settings:
    """Return the settings in ``folder``, or the declared ones if it has none."""
    path = folder / SETTINGS_FILE
    try:
        return load_settings(path, assignment) if path.is_file() else Settings()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}.") from None


def assignment_set(folder: Path) -> Any:
    """Return the assignment that the settings in ``folder`` are for; without any, its name.

    Raise SettingsError if they cannot be read.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return folder.name
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")).get("assignment")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}.") from None


def _settings(table: dict[str, Any], assignment: str) -> Settings:
    named = table.pop("assignment", None)
    if named != assignment:
        raise SettingsError(f"assignment = {named!r} where {assignment!r} was expected.")
    known: dict[str, Callable[[Any], Any]] = {
        "points": _points,
        "feedback": lambda value: _one_of("feedback", value, FEEDBACK_LEVELS),
        "policy": _policy,
        "limits": _limits,
        "attempts": lambda value: _one_of("attempts", value, ATTEMPTS),
        "packages": _packages,
        "deadline": _deadline,
    }
    if unknown := sorted(set(table) - set(known)):
        raise SettingsError(
            f"unknown setting {unknown[0]!r}; known settings are assignment, {', '.join(known)}."
            f"{did_you_mean(unknown[0], known)}"
        )
    return Settings(**{name: known[name](value) for name, value in table.items()})


def _points(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise SettingsError("[points] must be a table of check ids and numbers.")
    return {name: _number(f"points.{name}", worth, least=0.0) for name, worth in value.items()}


def _one_of(name: str, value: Any, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        raise SettingsError(f"{name} = {value!r}; it must be one of {', '.join(choices)}.")
    return value


def _packages(value: Any) -> tuple[str, ...]:
    every = value if isinstance(value, list) else [None]
    if not all(isinstance(each, str) and re.fullmatch(_DISTRIBUTION, each) for each in every):
        raise SettingsError(
            f"packages = {value!r}; it must be a list of package names, such as ['scipy']."
        )
    return tuple(every)


def _deadline(value: Any) -> str:
    if not isinstance(value, datetime.date):
        raise SettingsError(
            f"deadline = {value!r}; it must be a date, or a date and time without quotation marks, "
            "such as 2026-03-09T23:59:00+01:00."
        )
    return value.isoformat()


def _policy(value: Any) -> dict[FlagKind, Consequence]:
    table = _table("policy", value, get_args(FlagKind))
    for kind, consequence in table.items():
        _one_of(f"policy.{kind}", consequence, get_args(Consequence))
    return table


def _limits(value: Any) -> Limits:
    table = _table("limits", value, [each.name for each in fields(Limits)])
    numbers = {name: _number(f"limits.{name}", number, least=0.1) for name, number in table.items()}
    limits = Limits(**{**asdict(Limits()), **numbers})
    return replace(limits, memory_mib=int(limits.memory_mib))


def _table(name: str, value: Any, keys: Sequence[str]) -> dict[Any, Any]:
    if not isinstance(value, dict) or set(value) - set(keys):
        raise SettingsError(f"[{name}] must be a table with the keys {', '.join(keys)}.")
    return value


def _number(name: str, value: Any, *, least: float) -> float:
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if not right or not math.isfinite(value) or value < least:
        raise SettingsError(f"{name} = {value!r}; it must be a number of at least {least:g}.")
    return float(value)
