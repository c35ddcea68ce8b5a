"""What was found, as tables: medians over the rounds, with the least and the most."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.table import Table as Picture

from benchmarks.compare import SIDES, Findings, Record

# What a row is called, and the records it is made of.
CONTENDERS = (
    ("the limit: warm processes, no isolation", "limit"),
    ("the same, with the start of the processes", "limit with its start"),
    ("`backprop grade`", "grade"),
    ("nbgrader autograde", "nbgrader"),
    ("otter run", "otter"),
    ("a fresh pytest", "pytest"),
)
# Of a core: what may go on besides.
DISTURBED = 0.1
PEERS = (("nbgrader", "nbgrader"), ("otter", "otter"), ("pytest", "pytest"))


@dataclass(frozen=True)
class Table:
    """A title, a head, and rows of text."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(line)} |" for line in lines)])

    def picture(self) -> Picture:
        """The table for a terminal."""
        picture = Picture(title=self.title, title_justify="left")
        for number, name in enumerate(self.head):
            picture.add_column(name, justify="right" if number else "left")
        for row in self.rows:
            picture.add_row(*row)
        return picture


def tables_of(findings: Findings) -> list[Table]:
    """All tables that the findings are enough for."""
    tables = [
        _costs(findings),
        _ratios(findings),
        _grade_parts(findings),
        *_breakdown(findings),
    ]
    return [table for table in tables if table.rows]


def facts_of(findings: Findings) -> list[str]:
    """What was run, where, and what went wrong."""
    plan = findings.plan
    versions = {
        "torch": importlib.metadata.version("torch"),
        "backprop-harness": importlib.metadata.version("backprop-harness"),
        **findings.versions,
    }
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    return [
        f"{plan.submissions} submissions, {plan.peers} of them for the peers",
        f"{findings.rounds} rounds in {findings.minutes:.0f} minutes, seed {plan.seed}",
        f"Machine: {_cores()}, {_system()}, Python {platform.python_version()}",
        f"Versions: {named}",
        *_disturbance(findings.others),
        *(f"FAILED: {failure}" for failure in findings.failures),
    ]


def _disturbance(others: Sequence[float]) -> list[str]:
    """What else the machine did: where it is much, the times by the clock mean little."""
    if not others:
        return []
    said = f"Other work kept {median(others):.2f} cores busy ({min(others):.2f}–{max(others):.2f})"
    disturbed = median(others) > DISTURBED
    return [f"{said}: DISTURBED, measure again on an idle machine" if disturbed else said]


def _costs(findings: Findings) -> Table:
    rows = []
    for title, what in CONTENDERS:
        for at_once in SIDES:
            records = _records(findings, what, at_once)
            if records:
                rows.append(_cost_row(findings, title, records))
    head = ("", "at once", "submissions", "wall", "CPU", "memory", "judged right")
    return Table("A submission costs: milliseconds (median, least–most), MiB", head, rows)


def _cost_row(findings: Findings, title: str, records: Sequence[Record]) -> tuple[str, ...]:
    what, at_once = records[0].what, records[0].at_once
    memory = findings.memory.get(f"{what}/{at_once}")
    expected: dict[str, bool] = {}
    for record in records:
        for name, right in record.expected.items():
            expected[name] = expected.get(name, True) and right
    return (
        title,
        str(at_once),
        f"{len(records)} × {records[0].count}",
        _milliseconds([record.wall / record.count for record in records]),
        _milliseconds([record.cpu / record.count for record in records]),
        f"{max(memory):.0f}" if memory else "",
        f"{sum(expected.values())} of {len(expected)}",
    )


def _ratios(findings: Findings) -> Table:
    def wall(record: Record) -> float:
        return record.wall / record.count

    def cpu(record: Record) -> float:
        return record.cpu / record.count

    rows = [
        (
            "grade ÷ limit, 2 at once: wall",
            _ratio(findings, ("grade", 2), ("limit", 2), wall),
            "≤ 1.25",
        ),
        (
            "the same, the limit with its start",
            _ratio(findings, ("grade", 2), ("limit with its start", 2), wall),
            "",
        ),
        ("grade ÷ limit, 1 at once: wall", _ratio(findings, ("grade", 1), ("limit", 1), wall), ""),
        ("one warm grading ÷ limit: CPU", _spread(_marginal_ratios(findings)), "≤ 1.3"),
    ]
    for title, what in PEERS:
        aim = "≥ 50, better 100" if what == "nbgrader" else ""
        for at_once in SIDES:
            how = f"{title}, {at_once} at once ÷ grade, 2 workers: wall"
            rows.append((how, _ratio(findings, (what, at_once), ("grade", 2), wall), aim))
        how = f"{title} ÷ grade, 1 at once: CPU"
        rows.append((how, _ratio(findings, (what, 1), ("grade", 1), cpu), ""))
    head = ("ratio, a submission", "median (least–most)", "aim")
    return Table("Side by side", head, [row for row in rows if row[1]])


def _grade_parts(findings: Findings) -> Table:
    """What is left when the start is taken off, what a loop adds, and whether memory grows."""
    rows = []
    one = _records(findings, "grade, one", 1)
    if one:
        rows.append(
            ("grading a single submission, all in all: wall, s", _spread([r.wall for r in one]))
        )
        rows.append(("the same: CPU, s", _spread([r.cpu for r in one])))
    if marginal := _marginals(findings):
        rows.append(("one warm grading: CPU, ms", _milliseconds(list(marginal.values()))))
    sample, all_ = (_records(findings, what, 1) for what in ("limit, the sample", "limit"))
    if sample:
        ratio = _paired(sample, all_, lambda record: record.cpu / record.count)
        rows.append(("the peers' sample ÷ all submissions: the limit's CPU", _spread(ratio)))
    loops = _records(findings, "grade, loops", 1)
    if loops and one:
        seconds = (loops[0].wall - median(r.wall for r in one)) / loops[0].count
        rows.append(("a submission with an endless loop: wall, s", f"{seconds:.1f}"))
    memory = findings.memory.get(f"grade/{SIDES[-1]}", [])
    if len(memory) > 20:
        fifth = len(memory) // 5
        early, late = max(memory[fifth : 2 * fifth]), max(memory[-2 * fifth : -fifth])
        rows.append(
            (
                "memory with 2 workers, second and fourth fifth of the run, MiB",
                f"{early:.0f}, {late:.0f}",
            )
        )
    return Table("More about `backprop grade`", ("", "median (least–most)"), rows)


def _breakdown(findings: Findings) -> list[Table]:
    found = findings.breakdown
    if not found:
        return []
    tables = [
        _phases("Where the limit's CPU goes", "phase", found["limit"], found["count"]),
        _phases("What each probe takes of it", "probe", found["probes"], found["count"]),
        _phases("Where the time of one grading goes", "phase", found["grade"], found["count"]),
    ]
    cpu = found["cpu"]
    functions = sum(works.get("student's functions", 0.0) for works in found["limit"].values())
    bare = cpu["bare child"]
    rows = [
        ("the limit, all in all", cpu["limit"]),
        ("grading: the judge's side", cpu["judge"]),
        ("grading: the process that forks the student's", cpu["forking"]),
        ("grading: the student's process", cpu["child"]),
        ("… of it being started, locked down and ended", bare),
        ("… of it the student's functions, as they take in the limit", functions),
        (
            "… the rest: definitions, the wire, memory touched first",
            cpu["child"] - bare - functions,
        ),
    ]
    text = [(name, f"{1000 * seconds:.1f}") for name, seconds in rows]
    return [*tables, Table("CPU of a submission", ("", "ms"), text)]


def _phases(title: str, what: str, found: dict[str, dict[str, float]], count: int) -> Table:
    kinds = sorted({work for works in found.values() for work in works})
    rows = [
        (phase, *_cells([works.get(kind, 0.0) for kind in kinds]))
        for phase, works in sorted(found.items(), key=lambda item: -sum(item[1].values()))
    ]
    sums = [sum(works.get(kind, 0.0) for works in found.values()) for kind in kinds]
    head = (what, *kinds, "all")
    return Table(
        f"{title}: ms of a submission, {count} submissions", head, [*rows, ("all", *_cells(sums))]
    )


def _cells(seconds: Sequence[float]) -> list[str]:
    return [f"{1000 * each:.1f}" for each in (*seconds, sum(seconds))]


def _marginals(findings: Findings) -> dict[int, float]:
    """By round, the CPU of one more grading: of all, less that of half of them."""
    halves = {record.round: record for record in _records(findings, "grade, half", 1)}
    return {
        record.round: (record.cpu - halves[record.round].cpu)
        / (record.count - halves[record.round].count)
        for record in _records(findings, "grade", 1)
        if record.round in halves
    }


def _marginal_ratios(findings: Findings) -> list[float]:
    marginal = _marginals(findings)
    return [
        marginal[record.round] / (record.cpu / record.count)
        for record in _records(findings, "limit, the other half", 1)
        if record.round in marginal
    ]


def _records(findings: Findings, what: str, at_once: int) -> list[Record]:
    return [each for each in findings.records if (each.what, each.at_once) == (what, at_once)]


def _ratio(
    findings: Findings,
    above: tuple[str, int],
    below: tuple[str, int],
    measure: Callable[[Record], float],
) -> str:
    return _spread(_paired(_records(findings, *above), _records(findings, *below), measure))


def _paired(
    above: Sequence[Record], below: Sequence[Record], measure: Callable[[Record], float]
) -> list[float]:
    """The ratio in each round that has both."""
    under = {record.round: measure(record) for record in below}
    return [measure(each) / under[each.round] for each in above if each.round in under]


def _milliseconds(seconds: Sequence[float]) -> str:
    return _spread([1000 * each for each in seconds])


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return _number(values[0])
    return f"{_number(median(values))} ({_number(min(values))}–{_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _cores() -> str:
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    models = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    return f"{len(models)} cores ({models[0]})" if models else "unknown processor"


def _system() -> str:
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{platform.freedesktop_os_release().get('PRETTY_NAME', 'Linux')}, Linux {kernel}"
