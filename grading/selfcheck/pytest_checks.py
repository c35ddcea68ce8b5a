"""The checks of an assignment as pytest's items, judged when the first of them is run."""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from grading.sandbox import SpawnerError, open_spawner
from grading.selfcheck.check import check_work, checks_of
from grading.selfcheck.work import Work
from harness.course.numbers import decimal
from harness.course.report import Check, Report
from harness.errors import UserError
from harness.probes import Planned
from harness.show.outline import MARKS, advice
from harness.show.visible import visible

# What each report tells of its check, in the properties that --junitxml writes.
ID, POINTS, MAX_POINTS = "check", "points", "max_points"
# How a worker of pytest-xdist and the process that started it hand things on to each other.
NAMED, SAID = "backprop-named", "backprop-said"


class NotPassed(Exception):
    """A check failed or could not be made; the text is the student's."""


class Checks:
    """A plugin for one run of pytest over one submission."""

    def __init__(self, config: pytest.Config, work: Work) -> None:
        self.work = work
        try:
            self._all = checks_of(work)
        except UserError as error:
            raise pytest.UsageError(str(error)) from None
        self._path = Path(os.path.abspath(work.file))  # noqa: PTH100 - leaves links as they are
        self._said: list[str] = []
        self._names = _named(config)
        self.planned = self._named_checks()
        self._worker = hasattr(config, "workerinput")
        self._chosen: set[str] = set()

    def result(self, id: str) -> Check:
        """What came of a check, all of those that were chosen being made at once.

        Raises NotPassed where none could be made.
        """
        report = self._report
        if isinstance(report, str):
            raise NotPassed(report)
        return next(check for check in report.checks if check.id == id)

    @cached_property
    def _report(self) -> Report | str:
        """The report, or why there is none."""
        try:
            with open_spawner(packages=self.work.settings.packages) as spawner:
                report = check_work(self.work, self._chosen, spawner).report
        except UserError as error:
            # pytest-xdist would start another worker for one that exits, and again.
            if self._worker:
                return str(error)
            pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
        except SpawnerError as error:
            return f"A process for the code could not be started: {error}"
        self._said = [f"· {each}" for each in advice(report)]
        self._said += [visible(f"⚑ {each.kind}: {each.evidence}") for each in report.flags]
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        """Leaves to pytest what the call names beside the submission: by itself it takes all."""
        session.config.args = [name for name in self._names if not self._is_here(name)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        """Adds the checks, those that are named if any are."""
        items.extend(
            session.genitems(Submission.from_parent(session, path=self._path, checks=self))
        )

    def _named_checks(self) -> list[Planned]:
        """The checks that the call names, all where it names none.

        Raises UsageError for a name that no check has.
        """
        here = [name.partition("::")[2] for name in self._names if self._is_here(name)]
        ids = {id for id in here if id}
        if unknown := ids - {planned.id for planned in self._all}:
            raise pytest.UsageError(f"No check is called {', '.join(sorted(unknown))}.")
        return [planned for planned in self._all if not ids or planned.id in ids]

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Notes which checks are to be made."""
        self._chosen = {item.name for item in session.items if isinstance(item, CheckItem)}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Places what was skipped in the student's file rather than in this one."""
        report = yield
        if isinstance(item, CheckItem) and isinstance(report.longrepr, tuple):
            report.longrepr = (str(item.path), item.line + 1, report.longrepr[2])
        return report

    def pytest_report_header(self) -> str:
        """Says what is checked."""
        return f"submission: {self.work.file.name}, {self.work.assignment}"

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """The points, a line for each check that failed, and what is worth knowing."""
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
            if report.failed:
                terminalreporter.line(f"{MARKS['failed']} {facts[ID]}: {report.longrepr}")
        for line in self._said:
            terminalreporter.line(line)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tells a worker of pytest-xdist what the call named."""
        node.workerinput[NAMED] = self._names

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hands on what a worker has to say beside its reports."""
        if self._worker:
            session.config.workeroutput[SAID] = self._said  # type: ignore[attr-defined]

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Takes what a worker has to say; the others say the same."""
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
        """An item for each check. Nothing is run."""
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
        """Passes, is skipped, or raises NotPassed, as the check has come out."""
        self.user_properties += [(ID, self.name), (POINTS, 0.0)]
        self.user_properties.append((MAX_POINTS, self.planned.max_points))
        check = self.checks.result(self.name)
        self.user_properties[1] = (POINTS, check.points)
        if check.outcome == "not_run":
            pytest.skip(f"waits for {check.waits_for}")
        if check.outcome != "passed":
            start = "Does not hold" if check.outcome == "failed" else "Could not be checked"
            raise NotPassed(visible(check.message or f"{start}: {check.title}"))

    def repr_failure(  # type: ignore[override]
        self, excinfo: pytest.ExceptionInfo[BaseException]
    ) -> Any:
        """What the student reads."""
        if isinstance(excinfo.value, NotPassed):
            return str(excinfo.value)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it is, and its title."""
        return self.path, self.line, f"{self.name}: {self.planned.title}"

    def __repr__(self) -> str:
        return f"<Check {self.name}: {self.planned.title}>"


def _named(config: pytest.Config) -> list[str]:
    """The files, folders and items that the call names."""
    workerinput = getattr(config, "workerinput", None)
    if workerinput is not None:
        return list(workerinput[NAMED])
    explicit = config.args_source is pytest.Config.ArgsSource.ARGS
    return list(config.args) if explicit else []


def _points(made: list[dict[str, Any]], planned: int) -> str:
    got = decimal(sum(facts[POINTS] for facts in made))
    most = decimal(sum(facts[MAX_POINTS] for facts in made))
    left = f" ({planned - len(made)} of {planned} checks left out)" if len(made) < planned else ""
    return f"{got} of {most} points{left}"


def _line_of(work: Work, stage: str | None) -> int:
    """The line of a module where a class begins; 0 where that means nothing."""
    if stage is None or work.source.notebook:
        return 0
    lines: Iterator[str] = (line for cell in work.source.cells for line in cell.text.split("\n"))
    pattern = re.compile(rf"\s*class {re.escape(stage)}\b")
    return next((place for place, line in enumerate(lines) if pattern.match(line)), 0)
