"""What a judgement is, once made: frozen, plain data that needs no torch to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["passed", "failed", "error", "not_run"]
FlagKind = Literal[
    "delegates-to-autograd", "built-in-in-place", "finite-differences", "inspects-the-grader"
]


@dataclass(frozen=True)
class Diagnosis:
    """Which formula a student wrote for one gradient. See docs/results.md for the fields."""

    gradient: str
    mistake: str
    formula: str
    expected: str
    hint: str


@dataclass(frozen=True)
class Check:
    """One thing that was checked, what came of it, and what it is worth.

    ``message`` is for the student, ``staff`` for the instructor only. ``waits_for`` is the id of
    the check that must pass first, when the outcome is ``not_run``. ``case`` holds what makes the
    failing inputs again: a seed and sizes.
    """

    id: str
    stage: str | None
    title: str
    outcome: Outcome
    points: float
    max_points: float
    waits_for: str | None = None
    message: str = ""
    staff: str = ""
    case: Mapping[str, int] | None = None
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class Advice:
    """Something worth knowing that costs nothing. ``stage`` is None for the whole submission."""

    stage: str | None
    text: str


@dataclass(frozen=True)
class Flag:
    """Evidence for a person to judge. It changes a mark only where the settings say so."""

    kind: str
    stage: str | None
    evidence: str


@dataclass(frozen=True)
class Report:
    """The judgement of one candidate on one assignment, checks in the order they ran."""

    assignment: str
    checks: tuple[Check, ...]
    advice: tuple[Advice, ...] = ()
    flags: tuple[Flag, ...] = ()

    @property
    def score(self) -> float:
        """The points reached, rounded to 1e-9 so that sums of decimal points stay decimal."""
        return round(sum(check.points for check in self.checks), 9)

    @property
    def max_score(self) -> float:
        """The points that could be reached."""
        return round(sum(check.max_points for check in self.checks), 9)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.outcome == "passed" for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data, with ``score`` and ``max_score``."""
        return {
            "assignment": self.assignment,
            "score": self.score,
            "max_score": self.max_score,
            "checks": [asdict(check) for check in self.checks],
            "advice": [asdict(advice) for advice in self.advice],
            "flags": [asdict(flag) for flag in self.flags],
        }
