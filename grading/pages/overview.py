"""Gather what the page of a class says, from one result after the other. Needs no torch."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import get_args
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup

from grading.pages.names import page_address
from grading.pages.render import allowed, asset, render
from grading.results.lines import Result, Status, mistakes_of
from grading.results.record import Run
from harness.course.numbers import decimal
from harness.course.report import Check
from harness.drawing.visible import visible, visible_line
from harness.show.outline import check_label

BARS = 10
# So many of a kind stand on the page itself; the table has the rest.
SHOWN = 12
SLOWEST = 6
OUTCOMES = ("passed", "failed", "error", "not_run")
STATUSES = get_args(Status)
Mistake = tuple[str, str, str, str]


@dataclass(frozen=True)
class Case:
    """A submission as an example of something, with where the page is that says more."""

    name: str
    page: str
    said: str = ""
    evidence: str = ""


@dataclass
class Group:
    """Submissions with something in common: how many, and the first of them as examples."""

    title: str
    status: str = ""
    count: int = 0
    cases: list[Case] = field(default_factory=list)

    def add(self, cases: Sequence[Case]) -> None:
        """Count one more submission, of which the cases are examples."""
        self.count += 1
        if len(self.cases) < SHOWN:
            self.cases += cases


@dataclass
class Overview:
    """What there is to say about a class. ``add`` takes its results, in the order of names."""

    run: Run
    scores: list[float] = field(default_factory=list)
    full: int = 0
    max_score: float = 0.0
    rows: list[list[object]] = field(default_factory=list)
    checks: dict[str, Check] = field(default_factory=dict)
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    mistakes: Counter[Mistake] = field(default_factory=Counter)
    flags: dict[str, Group] = field(default_factory=dict)
    flagged: int = 0
    unmarked: dict[tuple[str, str], Group] = field(default_factory=dict)
    slow: list[tuple[float, Case]] = field(default_factory=list)
    _mistake_at: dict[Mistake, int] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Take the result of one submission."""
        case = Case(visible_line(result.submission), page_address(result.submission))
        self.max_score = max(self.max_score, result.max_score)
        self.statuses[result.status] += 1
        if result.mark is not None:
            self.scores.append(result.mark)
            self.full += result.mark == result.max_score
        for check in result.checks:
            self.checks.setdefault(check.id, check)
            self.outcomes.setdefault(check.id, Counter())[check.outcome] += 1
        made = mistakes_of(result)
        self.mistakes.update(made)
        for each in made:
            self._mistake_at.setdefault(each, len(self._mistake_at))
        kinds = self._add_flags(result, case)
        if result.status != "graded":
            self._add_unmarked(result, case)
        self.slow = nlargest(
            SLOWEST, [*self.slow, (result.seconds.cpu, case)], key=lambda each: each[0]
        )
        outcomes = {check.id: OUTCOMES.index(check.outcome) for check in result.checks}
        self.rows.append(
            [
                case.name,
                case.page,
                STATUSES.index(result.status),
                result.mark,
                "".join(str(outcomes.get(id, "-")) for id in self.checks),
                [self._mistake_at[each] for each in made],
                kinds,
                result.seconds.cpu,
                visible_line(result.reason or ""),
            ]
        )

    def page(self, title: str, formulas: Sequence[str]) -> str:
        """Return the page as HTML. ``formulas`` are those of ``common``, set as mathematics."""
        script = asset("class.js")
        common = self.common()
        return render(
            "class.html",
            style=asset("page.css") + asset("class.css"),
            script=script,
            script_hash=allowed(script),
            data=Markup(_embedded(self._data())),
            title=title,
            overview=self,
            link=lambda **filters: f"#{urlencode(filters)}",
            median=decimal(statistics.median(self.scores)) if self.scores else "–",
            mean=decimal(statistics.fmean(self.scores)) if self.scores else "–",
            bars=self._bars(),
            mistakes=list(zip(common, map(Markup, formulas), strict=True)),
            most=SHOWN,
            outcome_names=OUTCOMES,
        )

    def common(self) -> list[Mistake]:
        """Return the commonest mistakes, the most frequent first."""
        found = sorted(self.mistakes, key=lambda each: (-self.mistakes[each], each))
        return [each for each in found if self.mistakes[each] > 1][: 2 * SHOWN]

    def _add_flags(self, result: Result, case: Case) -> list[str]:
        self.flagged += bool(result.flags)
        kinds = list(dict.fromkeys(visible_line(flag.kind) for flag in result.flags))
        for kind in kinds:
            evidence = [
                Case(case.name, case.page, visible_line(flag.stage or ""), flag.evidence)
                for flag in result.flags
                if visible_line(flag.kind) == kind
            ]
            self.flags.setdefault(kind, Group(kind)).add(evidence)
        return kinds

    def _add_unmarked(self, result: Result, case: Case) -> None:
        last = result.staff.strip().splitlines()[-1:] if result.status == "grader_error" else []
        reason = visible((last or [result.reason or ""])[0])
        group = self.unmarked.setdefault((result.status, reason), Group(reason, result.status))
        group.add([case])

    def _bars(self) -> list[tuple[int, str, str]]:
        """Return how many got marks from one bound to the next: full marks stand apart."""
        if not self.max_score:
            return []
        width = self.max_score / BARS
        counts = Counter(min(int(score / width + 1e-9), BARS) for score in self.scores)
        bounds = [decimal(at * width) for at in range(BARS + 2)]
        return [(counts[at], bounds[at], bounds[at + 1]) for at in range(BARS + 1)]

    def stages(self) -> dict[str, list[Check]]:
        """Return the checks by stage, in the order in which they are made."""
        found: dict[str, list[Check]] = {}
        for check in self.checks.values():
            found.setdefault(_stage(check), []).append(check)
        return found

    def _data(self) -> dict[str, object]:
        return {
            "outcomes": OUTCOMES,
            "statuses": STATUSES,
            "max": self.max_score,
            "checks": [
                {"id": id, "label": check_label(id, check.title), "group": _stage(check)}
                for id, check in self.checks.items()
            ],
            "mistakes": [
                {"key": "|".join(each), "said": visible_line(f"{each[0]} ∂C/∂{each[1]}: {each[2]}")}
                for each in self._mistake_at
            ],
            "rows": self.rows,
        }


def _stage(check: Check) -> str:
    """Return the stage of a check, or the part of the assignment that it belongs to."""
    return visible_line(check.stage or check.id.partition("/")[0])


def _embedded(data: object) -> str:
    """Return JSON that can stand in a script element: it never ends one, nor a line."""
    text = msgspec.json.encode(data).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
