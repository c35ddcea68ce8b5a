"""The checks of an assignment as pytest items, which are judged when the first of them is run."""

import os
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from _pytest._code.code import TerminalRepr

from grading.errors import sentence
from grading.sandbox import SpawnerError, open_spawner
from grading.selfcheck.check import check_work
from grading.selfcheck.work import Work
from harness.course.numbers import decimal
from harness.course.report import Check, Report
from harness.drawing.visible import visible
from harness.errors import UserError, did_you_mean
from harness.probes import Planned, plan
from harness.show.outline import MARKS, advice, needed

# The properties of each report, which --junitxml writes.
ID, POINTS, MAX_POINTS = "check", "points", "max_points"
# The key of what a worker of pytest-xdist sends to the main process.
SAID = "backprop-said"


class NotPassed(Exception):
    """A check failed or could not be made; the text is for the student."""


@dataclass(eq=False)
class Told(TerminalRepr):
    """What a student reads of a failure; pytest's short summary does not repeat it."""

    text: str

    def toterminal(self, tw: Any) -> None:
        """Write the text."""
        tw.line(self.text)

    def __str__(self) -> str:
        return self.text


class Checks:
    """A plugin for one run of pytest over one submission."""

    def __init__(self, config: pytest.Config, work: Work) -> None:
        self.work = work
        self._all = plan(work.assignment(), work.settings)
        self._path = Path(os.path.abspath(work.file))  # noqa: PTH100 - leaves links as they are
        self._said: list[str] = []
        # What the call names, which workers of pytest-xdist get too, without any default paths.
        explicit = config.args_source is pytest.Config.ArgsSource.ARGS
        config.args = self._names = config.args if explicit else []
        self.planned = self._named_checks()
        self._worker = hasattr(config, "workerinput")
        self._report: Report | str = ""

    def result(self, item: pytest.Item) -> Check:
        """Return the result of a check. The first time, all the session's checks are made.

        Raise NotPassed if none could be made.
        """
        if not self._report:
            chosen = {each.name for each in item.session.items if isinstance(each, CheckItem)}
            self._report = self._judged(chosen)
        if isinstance(self._report, str):
            raise NotPassed(self._report)
        return next(check for check in self._report.checks if check.id == item.name)

    @property
    def made(self) -> Sequence[Check]:
        """The results of all checks that have been made."""
        return self._report.checks if isinstance(self._report, Report) else ()

    def _judged(self, chosen: set[str]) -> Report | str:
        """Return the report on the chosen checks, or why there is none."""
        try:
            with open_spawner(packages=self.work.settings.packages) as spawner:
                report = check_work(self.work, chosen, spawner).report
        except (UserError, SpawnerError) as error:
            # pytest-xdist would start another worker for one that exits, and again.
            if self._worker or isinstance(error, SpawnerError):
                return sentence(error)
            pytest.exit(sentence(error), returncode=pytest.ExitCode.USAGE_ERROR)
        self._said = [f"· {each}" for each in advice(report)]
        self._said += [visible(f"⚑ {each.kind}: {each.evidence}") for each in report.flags]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Leave to pytest only what the call names beside the submission, not its default paths."""
        session.config.args = [name for name in self._names if not self._is_here(name)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        """Add the checks, or those that the call names."""
        items.extend(
            session.genitems(Submission.from_parent(session, path=self._path, checks=self))
        )

    def _named_checks(self) -> list[Planned]:
        """Return the checks that the call names, all where it names none.

        Raise UsageError for an unknown name.
        """
        here = [name.partition("::")[2] for name in self._names if self._is_here(name)]
        ids = {id for id in here if id}
        if unknown := ids - {planned.id for planned in self._all}:
            first, known = min(unknown), [planned.id for planned in self._all]
            raise pytest.UsageError(f"There is no check {first}.{did_you_mean(first, known)}")
        return [planned for planned in self._all if not ids or planned.id in ids]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Give skipped checks the student's file as their place, not this one."""
        report = yield
        if isinstance(item, CheckItem) and isinstance(report.longrepr, tuple):
            report.longrepr = (str(item.path), item.line + 1, report.longrepr[2])
        return report

    def pytest_report_header(self) -> str:
        """Say what is checked."""
        return f"submission: {self.work.file.name}, {self.work.name}"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the points and the advice; also what failed if nothing else prints it."""
        stats = terminalreporter.stats
        made = [
            (dict(report.user_properties), report)
            for outcome in ("passed", "failed", "skipped")
            for report in stats.get(outcome, ())
            if ID in dict(getattr(report, "user_properties", ()))
        ]
        if not made:
            return
        terminalreporter.section("points")
        terminalreporter.line(_points([facts for facts, _ in made], len(self._all)))
        for facts, report in made:
            if report.failed and terminalreporter.config.option.tbstyle == "no":
                terminalreporter.line(f"{MARKS['failed']} {facts[ID]}: {report.longrepr}")
        for line in self._said:
            terminalreporter.line(line)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Send the advice from a worker of pytest-xdist to the main process."""
        if self._worker:
            session.config.workeroutput[SAID] = self._said  # type: ignore[attr-defined]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the advice of a worker; that of the others is the same."""
        said = getattr(node, "workeroutput", {}).get(SAID, [])
        self._said += [line for line in said if line not in self._said]

    def _is_here(self, name: str) -> bool:
        return Path(name.partition("::")[0]).resolve() == self._path.resolve()


class Submission(pytest.File):
    """A student's file, which pytest does not import."""

    def __init__(self, *, checks: Checks, **more: Any) -> None:
        super().__init__(**more)
        self.checks = checks

    def collect(self) -> Iterable[pytest.Item]:
        """Yield an item for each check. Nothing is run."""
        for planned in self.checks.planned:
            yield CheckItem.from_parent(self, name=planned.id, planned=planned, checks=self.checks)


class CheckItem(pytest.Item):
    """A check; ``line`` is that of the class it is about, from 0."""

    def __init__(self, *, planned: Planned, checks: Checks, **more: Any) -> None:
        super().__init__(**more)
        self.planned = planned
        self.checks = checks
        self.line = _line_of(checks.work, planned.stage)

    def runtest(self) -> None:
        """Pass, skip, or raise NotPassed, depending on the outcome of the check."""
        self.user_properties += [(ID, self.name), (POINTS, 0.0)]
        self.user_properties.append((MAX_POINTS, self.planned.max_points))
        check = self.checks.result(self)
        self.user_properties[1] = (POINTS, check.points)
        if check.outcome == "not_run":
            pytest.skip(f"waits for {needed(check.waits_for or '', self.checks.made)}")
        if check.outcome != "passed":
            start = "Does not hold" if check.outcome == "failed" else "Could not be checked"
            raise NotPassed(visible(check.message or f"{start}: {check.title}"))

    def repr_failure(  # type: ignore[override]
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> Any:
        """Return what the student reads."""
        if isinstance(excinfo.value, NotPassed):
            return Told(str(excinfo.value))
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the file, the line and the title."""
        return self.path, self.line, f"{self.name}: {self.planned.title}"

    def __repr__(self) -> str:
        return f"<Check {self.name}: {self.planned.title}>"


def _points(made: list[dict[str, Any]], planned: int) -> str:
    got = decimal(sum(facts[POINTS] for facts in made))
    most = decimal(sum(facts[MAX_POINTS] for facts in made))
    rest = planned - len(made)
    left = f" ({rest} of {planned} checks not selected)" if rest > 0 else ""
    return f"{got} of {most} points{left}"


def _line_of(work: Work, stage: str | None) -> int:
    """Return the line of a module where a class begins; 0 in a notebook or where it is missing."""
    if stage is None or work.source.notebook:
        return 0
    lines: Iterator[str] = (line for cell in work.source.cells for line in cell.text.split("\n"))
    pattern = re.compile(rf"\s*class {re.escape(stage)}\b")
    return next((place for place, line in enumerate(lines) if pattern.match(line)), 0)
