"""What an instructor sets for an assignment: read from ``assignment.toml``, checked, explained."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from harness.course.report import FlagKind
from harness.errors import UserError

FEEDBACK_LEVELS = ("verdict", "where", "hint", "formula", "solution")
SETTINGS_FILE = "assignment.toml"
ATTEMPTS = ("latest", "best")
# As the packaging standard spells names.
_DISTRIBUTION = r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?"
Consequence = Literal["flag", "zero", "ignore"]


class SettingsError(UserError, ValueError):
    """The settings cannot be used; the text says which, where and what to do."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Seconds are of processor time, memory is in MiB."""

    call_seconds: float = 5.0
    submission_seconds: float = 600.0
    memory_mib: int = 2048


@dataclass(frozen=True)
class Settings:
    """``points`` maps check ids to points, over those declared with the assignment.

    ``policy`` says what evidence of each kind brings: a flag for a person to judge, which is what
    it brings where nothing is said, no points for the stage, or nothing. ``attempts`` says which
    of a student's attempts counts, where there are several. ``packages`` names the distributions
    that students may import beside torch and numpy.
    """

    points: Mapping[str, float] = field(default_factory=dict)
    feedback: str = "formula"
    policy: Mapping[FlagKind, Consequence] = field(default_factory=dict)
    limits: Limits = Limits()
    attempts: str = "latest"
    packages: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON-ready data."""
        return {
            "points": dict(self.points),
            "feedback": self.feedback,
            "policy": dict(self.policy),
            "limits": asdict(self.limits),
            "attempts": self.attempts,
            "packages": list(self.packages),
        }

    def shows(self, level: str) -> bool:
        """Whether a student may see what belongs to the feedback level ``level``."""
        return FEEDBACK_LEVELS.index(self.feedback) >= FEEDBACK_LEVELS.index(level)


def load_settings(path: Path, assignment: str) -> Settings:
    """The settings in the TOML file at ``path``, which must be for ``assignment``.

    Raises SettingsError for a file that is not TOML, is for another assignment, or has a key or
    a value that means nothing.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}.") from error
    try:
        return _settings(table, assignment)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def settings_beside(folder: Path, assignment: str) -> Settings:
    """The settings in ``folder``, or the declared ones where it holds none for this assignment."""
    path = folder / SETTINGS_FILE
    try:
        return load_settings(path, assignment) if path.is_file() else Settings()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}.") from None


def _settings(table: dict[str, Any], assignment: str) -> Settings:
    named = table.pop("assignment", None)
    if named != assignment:
        raise SettingsError(f"assignment = {named!r} where {assignment!r} was expected.")
    known: dict[str, Callable[[Any], Any]] = {
        "points": _points,
        "feedback": _feedback,
        "policy": _policy,
        "limits": _limits,
        "attempts": _attempts,
        "packages": _packages,
    }
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise SettingsError(
            f"unknown setting {unknown[0]!r}; known are assignment, {', '.join(known)}."
        )
    return Settings(**{name: known[name](value) for name, value in table.items()})


def _points(value: Any) -> dict[str, float]:
    if not isinstance(value, dict):
        raise SettingsError("[points] must be a table of check ids and numbers.")
    return {name: _number(f"points.{name}", worth, least=0.0) for name, worth in value.items()}


def _feedback(value: Any) -> str:
    if value not in FEEDBACK_LEVELS:
        raise SettingsError(f"feedback = {value!r}; it is one of {', '.join(FEEDBACK_LEVELS)}.")
    return str(value)


def _attempts(value: Any) -> str:
    if value not in ATTEMPTS:
        raise SettingsError(f"attempts = {value!r}; it is one of {', '.join(ATTEMPTS)}.")
    return str(value)


def _packages(value: Any) -> tuple[str, ...]:
    every = value if isinstance(value, list) else [None]
    if not all(isinstance(each, str) and re.fullmatch(_DISTRIBUTION, each) for each in every):
        raise SettingsError(
            f"packages = {value!r}; it is a list of names that pip installs, such as ['scipy']."
        )
    return tuple(every)


def _policy(value: Any) -> dict[FlagKind, Consequence]:
    kinds, consequences = get_args(FlagKind), get_args(Consequence)
    if not isinstance(value, dict) or set(value) - set(kinds):
        raise SettingsError(f"[policy] is a table with the keys {', '.join(kinds)}.")
    for kind, consequence in value.items():
        if consequence not in consequences:
            raise SettingsError(
                f"policy.{kind} = {consequence!r}; it is one of {', '.join(consequences)}."
            )
    return value


def _limits(value: Any) -> Limits:
    names = [each.name for each in fields(Limits)]
    if not isinstance(value, dict) or set(value) - set(names):
        raise SettingsError(f"[limits] is a table with the keys {', '.join(names)}.")
    numbers = {name: _number(f"limits.{name}", number, least=0.1) for name, number in value.items()}
    limits = Limits()
    return Limits(
        call_seconds=numbers.get("call_seconds", limits.call_seconds),
        submission_seconds=numbers.get("submission_seconds", limits.submission_seconds),
        memory_mib=int(numbers.get("memory_mib", limits.memory_mib)),
    )


def _number(name: str, value: Any, *, least: float) -> float:
    right = isinstance(value, int | float) and not isinstance(value, bool)
    if not right or not math.isfinite(value) or value < least:
        raise SettingsError(f"{name} = {value!r}; it must be a number of at least {least:g}.")
    return float(value)
