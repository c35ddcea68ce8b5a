"""What the page of a class says, gathered from its results one by one. Needs no torch."""

from __future__ import annotations

import base64
import hashlib
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import get_args
from urllib.parse import urlencode

import msgspec
from markupsafe import Markup

from grading.pages.names import page_name
from grading.pages.render import asset, render
from grading.results.lines import OPEN, Result, Status, mistakes_of
from grading.results.record import Run
from harness.course.numbers import decimal
from harness.show.outline import check_label
from harness.show.visible import visible, visible_line

BARS = 10
# So many of a kind stand on the page itself; the table has the rest.
SHOWN = 12
SLOWEST = 6
OUTCOMES = ("passed", "failed", "error", "not_run")
STATUSES = get_args(Status)
Mistake = tuple[str, str, str, str]


@dataclass(frozen=True)
class Number:
    """A number on the page, and the place in the table of the submissions behind it."""

    count: int
    link: str


@dataclass(frozen=True)
class Bar:
    """Marks from ``least`` on: how many got them, and the height of the bar in percent."""

    least: str
    said: str
    number: Number
    height: float


@dataclass(frozen=True)
class Facts:
    """What is the same of a check in every submission."""

    id: str
    label: str
    group: str
    title: str
    points: float


@dataclass(frozen=True)
class CheckRow:
    """A check, and how many had each outcome, with the shares in percent."""

    facts: Facts
    numbers: dict[str, Number]
    shares: dict[str, float]
    passed: str


@dataclass(frozen=True)
class Case:
    """A submission as an example of something, with the page that says more."""

    name: str
    page: str
    said: str = ""
    evidence: str = ""


@dataclass(frozen=True)
class Group:
    """Submissions with something in common, the first of them as examples."""

    title: str
    number: Number
    cases: list[Case]
    said: str = ""


@dataclass
class Overview:
    """What there is to say about a class. ``add`` takes in its results, in the order of names."""

    run: Run
    scores: list[float] = field(default_factory=list)
    full: int = 0
    max_score: float = 0.0
    rows: list[list[object]] = field(default_factory=list)
    checks: dict[str, Facts] = field(default_factory=dict)
    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    mistakes: Counter[Mistake] = field(default_factory=Counter)
    flags: dict[str, Group] = field(default_factory=dict)
    flagged: int = 0
    unmarked: dict[tuple[str, str], Group] = field(default_factory=dict)
    slow: list[tuple[float, Case]] = field(default_factory=list)
    _mistake_at: dict[Mistake, int] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Takes in the result of one submission."""
        case = Case(visible_line(result.submission), page_name(result.submission))
        self.max_score = max(self.max_score, result.max_score)
        self.statuses[result.status] += 1
        if result.mark is not None:
            self.scores.append(result.mark)
            self.full += result.mark == result.max_score
        self._add_checks(result)
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
                "" if case.page == f"{case.name}.html" else case.page,
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
        """The page as HTML. ``formulas`` are those of ``common``, set as mathematics."""
        counts = self.statuses
        script = asset("class.js")
        return render(
            "class.html",
            style=asset("page.css") + asset("class.css"),
            script=script,
            script_hash=Markup(_allowed(script)),
            data=Markup(_embedded(self._data())),
            title=title,
            run=self.run,
            total=Number(len(self.rows), "#"),
            full=Number(self.full, _link(score="full")),
            unreadable=Number(counts["unreadable"], _link(status="unreadable")),
            open=Number(len(self.rows) - len(self.scores), _link(status="open")),
            flagged=Number(self.flagged, _link(status="flagged")),
            median=decimal(statistics.median(self.scores)) if self.scores else "–",
            mean=decimal(statistics.fmean(self.scores)) if self.scores else "–",
            max_score=self.max_score,
            bars=self._bars(),
            stages=self._stages(),
            mistakes=self._mistakes(formulas),
            most=SHOWN,
            others=len(self.mistakes) - len(self.common()),
            flags=sorted(self.flags.values(), key=lambda each: -each.number.count),
            unmarked=sorted(self.unmarked.values(), key=lambda each: -each.number.count),
            slow=[(f"{seconds:.2f}", case) for seconds, case in self.slow],
        )

    def common(self) -> list[Mistake]:
        """The commonest mistakes, most of all first."""
        found = sorted(self.mistakes, key=lambda each: (-self.mistakes[each], each))
        return [each for each in found if self.mistakes[each] > 1][: 2 * SHOWN]

    def _add_checks(self, result: Result) -> None:
        for check in result.checks:
            if check.id not in self.checks:
                self.checks[check.id] = Facts(
                    check.id,
                    check_label(check.id),
                    visible_line(check.stage or check.id.partition("/")[0]),
                    visible_line(check.title),
                    check.max_points,
                )
                self.outcomes[check.id] = Counter()
            self.outcomes[check.id][check.outcome] += 1

    def _add_flags(self, result: Result, case: Case) -> list[str]:
        self.flagged += bool(result.flags)
        kinds = list(dict.fromkeys(visible_line(flag.kind) for flag in result.flags))
        for kind in kinds:
            group = self.flags.get(kind) or Group(kind, Number(0, _link(flag=kind)), [])
            evidence = [
                Case(case.name, case.page, visible_line(flag.stage or ""), flag.evidence)
                for flag in result.flags
                if visible_line(flag.kind) == kind
            ]
            self.flags[kind] = _counted(group, evidence)
        return kinds

    def _add_unmarked(self, result: Result, case: Case) -> None:
        last = result.staff.strip().splitlines()[-1:] if result.status == "grader_error" else []
        reason = visible((last or [result.reason or ""])[0])
        key = result.status, reason
        number = Number(0, _link(status="open" if result.status in OPEN else result.status))
        group = self.unmarked.get(key) or Group(reason, number, [], result.status)
        self.unmarked[key] = _counted(group, [case])

    def _bars(self) -> list[Bar]:
        """How many got each mark: full marks stand apart from those just below."""
        if not self.max_score:
            return []
        width = self.max_score / BARS
        counts = [0] * (BARS + 1)
        for score in self.scores:
            counts[min(int(score / width + 1e-9), BARS)] += 1
        highest = max(counts) or 1
        bars = []
        for at, count in enumerate(counts):
            least, most = decimal(at * width), decimal((at + 1) * width)
            said = f"from {least} to less than {most}" if at < BARS else "full marks"
            link = _link(score=f"{least}:{most}" if at < BARS else "full")
            bars.append(Bar(least, said, Number(count, link), 100 * count / highest))
        return bars

    def _stages(self) -> dict[str, list[CheckRow]]:
        made: dict[str, list[CheckRow]] = {}
        for id, facts in self.checks.items():
            counted = self.outcomes[id]
            total = counted.total()
            row = CheckRow(
                facts=facts,
                numbers={
                    outcome: Number(counted[outcome], _link(check=id, outcome=outcome))
                    for outcome in OUTCOMES
                },
                shares={outcome: 100 * counted[outcome] / total for outcome in OUTCOMES},
                passed=f"{100 * counted['passed'] / total:.0f} %",
            )
            made.setdefault(facts.group, []).append(row)
        return made

    def _mistakes(self, formulas: Sequence[str]) -> list[dict[str, object]]:
        common = self.common()
        highest = self.mistakes[common[0]] if common else 1
        return [
            {
                "number": Number(self.mistakes[each], _link(mistake=_key(each))),
                "share": 100 * self.mistakes[each] / highest,
                "stage": each[0],
                "gradient": each[1],
                "name": each[2],
                "code": each[3],
                "formula": Markup(formula),
            }
            for each, formula in zip(common, formulas, strict=True)
        ]

    def _data(self) -> dict[str, object]:
        return {
            "outcomes": OUTCOMES,
            "statuses": STATUSES,
            "max": self.max_score,
            "checks": list(self.checks.values()),
            "mistakes": [
                {"key": _key(each), "said": visible_line(f"{each[0]} ∂C/∂{each[1]}: {each[2]}")}
                for each in self._mistake_at
            ],
            "rows": self.rows,
        }


def _counted(group: Group, cases: list[Case]) -> Group:
    number = Number(group.number.count + 1, group.number.link)
    kept = [*group.cases, *cases] if len(group.cases) < SHOWN else group.cases
    return Group(group.title, number, kept, group.said)


def _key(mistake: Mistake) -> str:
    return "|".join(mistake)


def _link(**filters: str) -> str:
    return f"#{urlencode(filters)}"


def _allowed(script: str) -> str:
    """What allows this script, and no other, to run in the page."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _embedded(data: object) -> str:
    """JSON that can stand in a script element: it never ends one, nor a line."""
    text = msgspec.json.encode(data).decode()
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
