"""A grading run from a folder of submissions to published results, with its progress shown.

This process does without torch; what needs it happens in the workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from grading.errors import isolated, listed, refusals
from grading.results.attempts import attempts_of, combined, counting
from grading.results.lines import OPEN, Result, publish
from grading.results.origin import with_origin
from grading.results.record import LazyResults, read_run, readable_results
from grading.results.versions import versions
from grading.runs.journal import Journal, Keys
from grading.runs.output import open_journal, seed_for
from grading.runs.overrides import Overrides, read_overrides
from grading.runs.preview import print_moves, published
from grading.runs.shards import Shard, listing_digest
from grading.runs.signals import Stopped, stoppable, unstoppable
from grading.runs.start import check_declared, progress, warn_not_isolated, worker_count
from grading.runs.submissions import Folder, open_folder
from grading.runs.summary import Counts, print_summary
from grading.sandbox import LEVELS, LOCKED, Isolation, open_zygote
from grading.submissions.intake import Intake
from grading.submissions.people import read_roster
from grading.submissions.reading import Entry, digest_of
from grading.workers.batch import Machines, Pool, executor, graded_by, start_early
from grading.workers.capacity import cores
from grading.workers.cluster import open_cluster
from grading.workers.jobs import Graded, Job
from harness.course.assignments import settings_of
from harness.course.numbers import plural
from harness.errors import UserError


@dataclass(frozen=True)
class Options:
    """How to make a run.

    ``workers`` defaults to as many as cores and memory allow; ``seed`` to the one that the output
    folder keeps, drawn at random the first time; ``isolation`` to the strongest level of this
    machine that is safe for untrusted code. ``only`` names the submissions to grade, if not all;
    ``fresh`` discards what earlier runs finished of them. ``roster`` is a CSV file of the class,
    ``platform`` the learning platform that the folder is a download from, if that is to be said.
    ``file`` names the one that counts where several of a submission could. Only submissions in the
    ``shard`` are graded, if there is one; runs in the same folder share its seed. ``scheduler`` is
    the address of a cluster to grade on.
    """

    workers: int | None = None
    seed: int | None = None
    isolation: Isolation | None = None
    only: Sequence[str] = ()
    fresh: bool = False
    roster: Path | None = None
    file: str = ""
    platform: str = ""
    shard: Shard | None = None
    scheduler: str | None = None


def grade_folder(folder: Path, assignment: str, out: Path, options: Options) -> bool:
    """Grade what ``folder`` holds, publish the results in ``out`` and print a summary.

    What an earlier run finished is not graded again. Return whether every submission to be graded
    has its mark. Raise UserError if the run is impossible, and Stopped if a signal ends it; what
    is finished is kept. If only the report cannot be written, raise UserError at the end.
    """
    with stoppable(), _finished(folder, assignment, out, options, publishes=True) as run:
        results = run.results()
        with unstoppable(), refusals(out, "written"):
            publish(out, results, run.facts())
            run.journal.keep_only({entry.name for entry in run.entries})
        # From here on nothing can harm the marks.
        # The report on a shard is that on the whole class, once they are merged.
        unreported = options.shard is not None
        report, trouble = (None, None) if unreported else _report(out, options.workers or cores())
        print_summary(Console(), results, out, run.counts(), report)
        for line in run.attendance():
            click.echo(line)
        if trouble:
            raise trouble
        return run.is_complete()


def preview_folder(folder: Path, assignment: str, out: Path, options: Options) -> tuple[bool, bool]:
    """Grade as `grade_folder` does, and print whose mark would change, and why, without publishing.

    Return whether every submission has its mark, and whether a mark would change. What was graded
    is kept for the run that publishes. Raise as `grade_folder` does.
    """
    with stoppable(), _finished(folder, assignment, out, options, publishes=False) as run:
        results, facts, troubles = published(out)
        for line in troubles:
            click.echo(line, err=True)
        moves = print_moves(Console(), (results, facts), (run.results(), run.facts()))
        return run.is_complete(), moves.any()


@contextmanager
def _finished(
    path: Path, assignment: str, out: Path, options: Options, *, publishes: bool
) -> Iterator[_Run]:
    """Yield a run over the folder with everything that was to be graded in its journal."""
    settings = settings_of(assignment)
    roster = read_roster(options.roster) if options.roster else None
    with open_folder(path) as folder, ExitStack() as stack:
        intake = folder.take_in(assignment, out, roster, options.platform)
        named = {each.name for each in folder.wanted(intake.entries, options.only)}
        shard = options.shard
        entries = [each for each in intake.entries if shard is None or shard.holds(each.name)]
        journal = stack.enter_context(open_journal(out, shard))
        for line in (*(roster.notes if roster else ()), *intake.lines()):
            click.echo(line)
        students = {
            each.name: [
                _with_file(attempt, journal, options if each.name in named else Options())
                for attempt in attempts_of(each, assignment) or [each]
            ]
            for each in entries
        }
        wanted = [attempt for name in students if name in named for attempt in students[name]]
        keeper = out.absolute().parent if shard else out
        job = Job(assignment, settings, seed_for(keeper, options.seed, keep=publishes))
        overrides = Overrides(read_overrides(out))
        run = _Run(students, wanted, job, journal, out, folder, options, intake, overrides)
        try:
            run.look()
            for line in run.troubles():
                click.echo(line, err=True)
            run.grade()
        except Stopped as stop:
            stop.said = run.how_to_resume()
            raise
        yield run


def _with_file(entry: Entry, journal: Journal, options: Options) -> Entry:
    """Return the entry with the file that counts, as chosen: for it, for all, or in a run before.

    A choice is kept with the result until the submission is graded ``fresh``.
    """
    place = None if options.fresh else journal.place(entry.name)
    file = entry.file or options.file or (place.file if place else "")
    return msgspec.structs.replace(entry, file=file)


def _report(out: Path, workers: int) -> tuple[Path | None, UserError | None]:
    """Return the first page of the report, brought up to date, or why there is none."""
    from grading.pages.folder import make_report

    try:
        return make_report(out, lambda wanted: executor(min(wanted, workers))), None
    except UserError as error:
        return None, error
    except Stopped as stop:
        stop.said = f"Stopped with the marks published; `backprop report {out}` makes the report."
        raise


@dataclass
class _Run:
    """A run over ``students``, each with one or more attempts; those in ``wanted`` are graded.

    ``current`` names the submissions whose result in the journal is that of their files as they
    are, under this run's settings.
    """

    students: Mapping[str, Sequence[Entry]]
    wanted: list[Entry]
    job: Job
    journal: Journal
    out: Path
    folder: Folder
    options: Options
    intake: Intake
    overrides: Overrides
    current: set[str] = field(default_factory=set)
    graded: int = 0
    as_root: bool = False
    looked: bool = False

    def __post_init__(self) -> None:
        self.entries = [entry for entries in self.students.values() for entry in entries]
        self.files = {entry.name: entry.file for entry in self.entries}
        self.keys = Keys(self.job, versions())

    def look(self) -> None:
        """Find out what is finished."""
        if self.options.fresh:
            with unstoppable(), refusals(self.out, "written"):
                self.journal.forget({entry.name for entry in self.wanted})
        self.current = {entry.name for entry in self.entries if self._is_current(entry)}
        self.folder.require()
        self.looked = True

    def troubles(self) -> Iterator[str]:
        """Say what the journal has lost, which is graded again although nothing changed."""
        place = self.journal.place
        there = [entry.name for entry in self.wanted if place(entry.name)]
        lost = 0
        if len(there) < len(self.wanted):
            missing = {
                student
                for student, entries in self.students.items()
                if not any(place(entry.name) for entry in entries)
            }
            published, _ = readable_results(self.out)
            lost = sum(name in missing for name in published.names)
        stale = [name for name in there if name not in self.current]
        yield from self.journal.troubles(stale, 0 if self.options.fresh else lost)

    def grade(self) -> None:
        """Grade what is wanted and not finished, and put each result into the journal."""
        waiting = [entry for entry in self.wanted if not self._is_finished(entry)]
        if not waiting:
            return
        with self._machines(len(waiting)) as machines:
            check_declared(self.job)
            results = graded_by(machines, waiting, self.job)
            with closing(results), progress(len(waiting)) as done:
                for graded in results:
                    if graded.result.status == "grader_error":
                        self.folder.require()
                    self._take(graded)
                    done(graded.result.submission)
        self.folder.require()

    @contextmanager
    def _machines(self, waiting: int) -> Iterator[Machines]:
        """Start what is to grade so many submissions, or connect to it."""
        settings, asked = self.job.settings, self.options
        levels = [asked.isolation] if asked.isolation else LOCKED
        with isolated():
            if asked.scheduler:
                if levels == ["minimal"]:
                    warn_not_isolated()
                with open_cluster(asked.scheduler, self.job, levels) as cluster:
                    yield cluster
                return
            started = worker_count(asked.workers, waiting, settings.limits.memory_mib)
            with open_zygote(levels, settings.packages) or nullcontext() as zygote:
                start_early(self.job)
                if zygote is None or zygote.isolation == "minimal":
                    warn_not_isolated()
                yield Pool(started, zygote)

    def how_to_resume(self) -> str:
        """Return what to tell a person who has stopped the run."""
        if not self.looked:
            return "Stopped before grading began; the same command starts again."
        how = "the same command without --fresh" if self.options.fresh else "the same command"
        finished = sum(map(self._is_finished, self.wanted))
        return f"Stopped with {finished} of {len(self.wanted)} graded; {how} resumes from there."

    def is_complete(self) -> bool:
        """Return whether all that is wanted has a mark, from the grader or from the instructor."""
        return all(
            self._is_finished(entry) or self.overrides.gives(entry.name) for entry in self.wanted
        )

    def results(self) -> LazyResults:
        """Return the results, one a student, in the order of names, read as they are needed."""
        graded = [
            name
            for name, entries in self.students.items()
            if all(entry.name in self.current for entry in entries)
        ]
        return LazyResults(graded, self._result)

    def attendance(self) -> Iterator[str]:
        """Say who on the roster is missing, and which submissions are of nobody on it."""
        missing, unknown = self.intake.missing, self.intake.unknown
        if missing:
            whom = plural(len(missing), "student")
            yield f"No submission from {whom} on the roster: {listed(missing)}."
        if unknown:
            names = listed(unknown, len(unknown))
            yield f"{plural(len(unknown), 'submission')} not on the roster: {names}."

    def counts(self) -> Counts:
        """Return the numbers of submissions graded by this run, graded earlier, and ungraded."""
        return Counts(
            self.graded, len(self.current) - self.graded, len(self.entries) - len(self.current)
        )

    def facts(self) -> dict[str, Any]:
        """Return what ``run.json`` says. Its isolation is the weakest of all results."""
        places = filter(None, map(self.journal.place, self.current))
        declared = self.keys.declaration
        facts: dict[str, Any] = {
            "schema": 1,
            "assignment": self.job.assignment,
            **({"declaration": declared} if declared else {}),
            "seed": self.job.seed,
            "settings": self.job.settings.as_dict(),
            "isolation": max(
                (place.isolation for place in places), key=LEVELS.index, default="full"
            ),
            **({"as_root": True} if self._any_as_root() else {}),
            "versions": versions(),
            "submissions": len(self.students),
            "listing": listing_digest(each.name for each in self.intake.entries),
        }
        if self.options.shard:
            facts["shard"] = str(self.options.shard)
        if self.intake.platform:
            facts["platform"] = self.intake.platform
        if self.options.roster:
            facts["missing"] = self.intake.missing
            facts["not_on_roster"] = self.intake.unknown
        return facts

    def _any_as_root(self) -> bool:
        """Return whether students' processes were root for any of the results."""
        if self.as_root or self.graded == len(self.current):
            return self.as_root
        try:
            return read_run(self.out).as_root
        except UserError:
            return False

    def _result(self, student: str) -> Result:
        """Return the result that counts of a student's work, as the journal has it."""
        entries = self.students[student]
        results = [self.journal.read(entry.name) for entry in entries]
        settings = self.job.settings
        at = counting(results, settings.attempts)
        result = combined(student, results, at) if len(results) > 1 else results[0]
        result = with_origin(result, entries[at], self.folder.path, settings.deadline)
        return self.overrides.applied(result)

    def _is_current(self, entry: Entry) -> bool:
        place = self.journal.place(entry.name)
        if place is None:
            return False
        try:
            digest = digest_of(entry, self.job.assignment) if place.finished else ""
        except OSError:
            return False  # grading it again reports what is wrong
        return place.key == self.keys.key(entry.name, digest, entry.file)

    def _is_finished(self, entry: Entry) -> bool:
        place = self.journal.place(entry.name)
        return place is not None and place.finished and entry.name in self.current

    def _take(self, graded: Graded) -> None:
        """Keep a result under the digest of what was graded: files change while others wait."""
        result = graded.result
        digest = "" if result.status in OPEN else result.digest
        file = self.files[result.submission]
        key = self.keys.key(result.submission, digest, file)
        # Kept and counted together, so that a stop in between reports the right number.
        with unstoppable():
            with refusals(self.out, "written"):
                self.journal.append(key, graded.isolation, result, file)
            self.current.add(result.submission)
            self.as_root |= graded.as_root
            self.graded += 1
