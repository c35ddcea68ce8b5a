"""The report on a candidate: frozen, plain data that needs no torch to read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["passed", "failed", "error", "not_run"]
FlagKind = Literal[
    "delegates-to-autograd",
    "built-in-in-place",
    "finite-differences",
    "built-in-optimizer",
    "inspects-the-grader",
]
# What checks wait for that cannot be made at home.
GRADING = "grading"


@dataclass(frozen=True)
class Diagnosis:
    """The formula that a student wrote for one gradient. docs/results.md describes the fields."""

    gradient: str
    mistake: str
    formula: str
    expected: str
    hint: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Check:
    """A check, its outcome, and its points.

    ``message`` is for the student, ``staff`` for the instructor only. ``waits_for`` is the id of
    the check that must pass first if the outcome is ``not_run``. ``case`` reproduces the failing
    inputs: a seed and sizes.
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
    case: Mapping[str, Any] | None = None
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True)
class Advice:
    """Advice that costs no points. ``stage`` is None for the whole submission."""

    stage: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.stage}: {self.text}" if self.stage else self.text


@dataclass(frozen=True)
class Flag:
    """Evidence for a person to judge. It changes a mark only if the settings say so."""

    kind: str
    stage: str | None
    evidence: str


@dataclass(frozen=True)
class Report:
    """The report on one candidate in one assignment, with checks in the order they ran."""

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
        """The highest possible score."""
        return round(sum(check.max_points for check in self.checks), 9)

    @property
    def passed(self) -> bool:
        """True if every check passed."""
        return all(check.outcome == "passed" for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready data, with ``score`` and ``max_score``."""
        scores = {"score": self.score, "max_score": self.max_score}
        return {"assignment": self.assignment, **scores, **asdict(self)}
