"""A grading run from a folder of submissions to published results, with its progress shown.

The main process stays free of torch: whatever needs it happens in the workers.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from grading.confined.software import MissingPackage
from grading.errors import refusal
from grading.results.attempts import attempts_of, combined
from grading.results.lines import GRADES, LINES, OPEN, RUN, Result, publish, unfinished
from grading.results.record import read_run, readable_results
from grading.results.roster import Attendance, Roster, read_roster
from grading.results.summary import Counts, print_summary
from grading.results.versions import versions
from grading.runs import journal as journals
from grading.runs.journal import Busy, Journal, Kept, Keys, only_run_in
from grading.runs.overrides import FILE as OVERRIDES
from grading.runs.overrides import Overrides, read_overrides
from grading.runs.preview import compared, print_moves, published
from grading.runs.signals import Stopped, stoppable, unstoppable
from grading.sandbox import LEVELS, LOCKED, Isolation, SpawnerError, can_fork
from grading.submissions.reading import Entry, digest_of, find_submissions, holds_only
from grading.workers.batch import executor, grade_entries, start_early
from grading.workers.capacity import available_mib, cores, needed_mib, workers_that_fit
from grading.workers.jobs import Job
from grading.workers.seeds import kept_seed
from harness.course.assignments import load_assignment
from harness.course.settings import Settings, settings_beside
from harness.errors import UserError
from harness.show.visible import visible_line

if TYPE_CHECKING:
    from grading.sandbox.zygote import Zygote

NOT_LOCKED = (
    "[bold]WARNING: submissions are NOT locked down (isolation: minimal).[/bold] Each runs in a "
    "process of its own, limited in time and memory, that can read your files, other submissions "
    "among them, and use the network as you can. Grade only code you trust."
)


# Where a folder of results keeps its seed from the start: run.json comes at the end of a run.
SEED = ".seed"
# What every run used before seeds were drawn at random.
PUBLIC_SEED = 0


@dataclass(frozen=True)
class Wish:
    """How a run is to be made.

    ``workers`` is how many are asked for; without it, as many as cores and memory allow.
    ``seed`` is the one to use; without it, the one that the folder for results keeps, which is
    drawn at random the first time. ``isolation`` is the level asked for by name; without it, the
    best this machine gives of those that hold against strangers' code. ``only`` names the
    submissions to grade, where not all. ``fresh`` forgets what earlier runs have finished of them.
    ``roster`` is a file that says who is in the class.
    """

    workers: int | None = None
    seed: int | None = None
    isolation: Isolation | None = None
    only: Sequence[str] = ()
    fresh: bool = False
    roster: Path | None = None


def grade_folder(folder: Path, assignment: str, out: Path, wish: Wish) -> bool:
    """Grades what ``folder`` holds, publishes the results in ``out`` and prints a summary.

    What an earlier run has finished is not graded again. Returns whether every submission that was
    to be graded has its mark. Raises UserError for an unusable call, and Stopped where a signal
    ends the run, with all that is finished kept. Where only the report cannot be written, it raises
    UserError after all else is done.
    """
    with stoppable(), _finished(folder, assignment, out, wish, publishes=True) as run:
        results = run.results()
        with unstoppable(), _writing(out):
            publish(out, results, run.facts())
            run.forget_others()
        # From here on nothing can harm the marks.
        report, why_not = _report(out, wish.workers or cores())
        print_summary(Console(), results, out, run.counts(), report)
        for line in run.attendance.said():
            Console().print(line, markup=False, highlight=False)
        if why_not:
            raise UserError(why_not)
        return run.is_complete()


def preview_folder(folder: Path, assignment: str, out: Path, wish: Wish) -> tuple[bool, bool]:
    """Grades as `grade_folder`, and prints whose mark would move, and why, in place of publishing.

    Returns whether every submission has its mark, and whether a mark would move. What was graded
    is kept for the run that publishes. Raises as `grade_folder`.
    """
    with stoppable(), _finished(folder, assignment, out, wish, publishes=False) as run:
        before = published(out)
        moves = compared((before.results, before.run), run.results(), run.facts())
        for line in before.troubles:
            Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
        print_moves(Console(), moves)
        return run.is_complete(), moves.any()


@contextmanager
def _finished(
    folder: Path, assignment: str, out: Path, wish: Wish, *, publishes: bool
) -> Iterator[_Run]:
    """A run over the folder, with everything that was to be graded in its journal."""
    place = _Place.of(folder)
    entries = _entries(folder, assignment, out)
    wanted = _wanted(entries, wish.only, folder)
    settings = _settings(assignment)
    roster = read_roster(wish.roster) if wish.roster else None
    students = {each.name: attempts_of(each, assignment) or [each] for each in entries}
    with _journal_in(out) as journal:
        job = Job(assignment, settings, _seed(out, wish.seed, keep=publishes))
        run = _Run(students, wanted, job, journal, out, place)
        run.roster = roster
        try:
            run.overrides = Overrides(read_overrides(out))
            run.look(fresh=wish.fresh)
            for line in run.troubles():
                Console(stderr=True).print(line, markup=False, highlight=False, soft_wrap=True)
            run.grade(wish.workers, wish.isolation)
        except Stopped as stop:
            stop.said = run.goes_on(fresh=wish.fresh)
            raise
        yield run


def _report(out: Path, workers: int) -> tuple[Path | None, str]:
    """The first page of the report, brought up to date, or why there is none."""
    from grading.pages.folder import make_report

    try:
        return make_report(out, lambda wanted: executor(min(wanted, workers))), ""
    except UserError as error:
        return None, str(error)
    except Stopped as stop:
        stop.said = f"Stopped with the marks published; `backprop report {out}` makes the report."
        raise


def warn_not_locked() -> None:
    """Says on standard error that submissions run without locks."""
    Console(stderr=True).print(NOT_LOCKED, highlight=False)


def course_settings(assignment: str, course: Path) -> Settings:
    """What the instructor of the course in the folder ``course`` has set for an assignment."""
    return settings_beside(course / "solutions" / assignment, assignment)


@dataclass(frozen=True)
class _Place:
    """A folder as it was when a run began: the same one, and one that can be looked into."""

    folder: Path
    device: int
    inode: int

    @classmethod
    def of(cls, folder: Path) -> _Place:
        """Raise UserError where it cannot be looked into."""
        try:
            found = _looked_into(folder)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(
                f"{folder} is not a folder: give the folder that holds the submissions."
            ) from None
        except OSError as error:
            raise UserError(refusal(error, folder)) from None
        return cls(folder, found.st_dev, found.st_ino)

    def lost(self) -> str:
        """Say how it went away; nothing where it is there."""
        try:
            found = _looked_into(self.folder)
        except OSError as error:
            return refusal(error, self.folder)
        if (found.st_dev, found.st_ino) != (self.device, self.inode):
            return f"{self.folder} is not the folder that it was: it was moved or unmounted."
        return ""


def _looked_into(folder: Path) -> os.stat_result:
    with os.scandir(folder):
        # Only who may search a folder may ask about the dot in it.
        return os.stat(os.path.join(folder, "."))  # noqa: PTH116, PTH118 - a path drops the dot


class _Run:
    """One run over ``students``, each with what they handed in: one thing, or several attempts.

    Those in ``wanted`` are to be graded. ``current`` names the submissions whose result in the
    journal is that of their files as they are, under this run's settings.
    """

    def __init__(
        self,
        students: Mapping[str, Sequence[Entry]],
        wanted: Sequence[Entry],
        job: Job,
        journal: Journal,
        out: Path,
        place: _Place,
    ) -> None:
        self.current: set[str] = set()
        self.roster: Roster | None = None
        self.overrides = Overrides(())
        self._students = students
        self._entries = [entry for entries in students.values() for entry in entries]
        self._wanted = [entry for each in wanted for entry in students[each.name]]
        self._job = job
        self._journal = journal
        self._out = out
        self._place = place
        self._keys = Keys(job, versions())
        self._graded = 0
        self._as_root = False
        self._looked = False
        self._fresh = False

    def look(self, *, fresh: bool) -> None:
        """Finds out what is finished."""
        self._fresh = fresh
        if fresh:
            with unstoppable(), _writing(self._out):
                self._journal.forget({entry.name for entry in self._wanted})
        self.current = {entry.name for entry in self._entries if self._is_current(entry)}
        self._refuse_loss()
        self._looked = True

    def troubles(self) -> Iterator[str]:
        """Say what the journal has lost, and so is graded again although nothing has changed."""
        place = self._journal.place
        there = [entry.name for entry in self._wanted if place(entry.name)]
        lost = 0
        if len(there) < len(self._wanted):
            lacking = {
                student
                for student, entries in self._students.items()
                if not any(place(entry.name) for entry in entries)
            }
            published = readable_results(self._out)
            lost = sum(result is not None and result.submission in lacking for result in published)
        stale = [name for name in there if name not in self.current]
        yield from self._journal.troubles(stale, 0 if self._fresh else lost)

    def grade(self, workers: int | None, isolation: Isolation | None) -> None:
        """Grades what is wanted and not finished, and puts each result into the journal."""
        waiting = [entry for entry in self._wanted if not self._is_finished(entry)]
        if not waiting:
            return
        started = _workers(workers, len(waiting), self._job.settings.limits.memory_mib)
        try:
            with spawner_for(isolation, self._job.settings.packages) as zygote:
                start_early(self._job)
                _check_points(self._job)
                level = zygote.isolation if zygote else "minimal"
                self._as_root = zygote is not None and zygote.as_root
                if level == "minimal":
                    warn_not_locked()
                results = grade_entries(waiting, self._job, started, zygote)
                with (
                    closing(cast(Generator[Result, None, None], results)),
                    _progress(len(waiting)) as done,
                ):
                    for result in results:
                        if result.status == "grader_error":
                            self._refuse_loss()
                        self._take(result, level)
                        done(result.submission)
            self._refuse_loss()
        except MissingPackage as error:
            raise UserError(f"{error}.") from None
        except SpawnerError as error:
            raise UserError(
                f"This machine cannot lock submissions down ({error}). `backprop doctor` says what "
                "to install; --isolation minimal grades without locks, for code you trust."
            ) from None

    def goes_on(self, *, fresh: bool) -> str:
        """What to tell a person who has stopped the run."""
        if not self._looked:
            return "Stopped before grading began; the same command begins again."
        how = "the same command without --fresh" if fresh else "the same command"
        finished = sum(map(self._is_finished, self._wanted))
        return f"Stopped with {finished} of {len(self._wanted)} graded; {how} goes on from there."

    def _refuse_loss(self) -> None:
        """Raise UserError where the folder of submissions went away: that is no student's fault."""
        if why := self._place.lost():
            raise UserError(
                f"{why} Nothing was published, and what has been graded is kept: bring the folder "
                "back and run the same command again, without --fresh."
            )

    def is_complete(self) -> bool:
        """Whether everything wanted has its mark, from the grader or from the instructor."""
        return all(
            self._is_finished(entry) or self.overrides.gives(entry.name) for entry in self._wanted
        )

    def results(self) -> Collection[Result]:
        """The results, a student each, in the order of names, read as they are asked for."""
        graded = [
            name
            for name, entries in self._students.items()
            if all(entry.name in self.current for entry in entries)
        ]
        return Kept(graded, self._result)

    @cached_property
    def attendance(self) -> Attendance:
        """Whom the roster misses, and who is not on it; nobody where there is none."""
        return self.roster.attendance(self._students) if self.roster else Attendance([], [])

    def forget_others(self) -> None:
        """Takes what is no longer in the folder out of the journal."""
        self._journal.keep_only({entry.name for entry in self._entries})

    def counts(self) -> Counts:
        """How many were graded now, taken from before, and left ungraded."""
        return Counts(
            self._graded, len(self.current) - self._graded, len(self._entries) - len(self.current)
        )

    def facts(self) -> dict[str, Any]:
        """What ``run.json`` tells. The isolation is the weakest that a result was graded at."""
        places = filter(None, map(self._journal.place, self.current))
        levels = {place.isolation for place in places}
        attendance = self.attendance
        roster = (
            {"missing": attendance.missing, "not_on_roster": attendance.strangers}
            if self.roster
            else {}
        )
        return {
            "schema": 1,
            "assignment": self._job.assignment,
            "seed": self._job.seed,
            "settings": self._job.settings.as_dict(),
            "isolation": max(levels, key=LEVELS.index),
            **({"as_root": True} if self._as_root else {}),
            "versions": versions(),
            **roster,
        }

    def _result(self, student: str) -> Result:
        """What counts of a student's work, as the journal has it."""
        found = [self._journal.read(entry.name) for entry in self._students[student]]
        several = len(found) > 1
        result = combined(student, found, self._job.settings.attempts) if several else found[0]
        return self.overrides.applied(result)

    def _is_current(self, entry: Entry) -> bool:
        place = self._journal.place(entry.name)
        if place is None:
            return False
        try:
            digest = digest_of(entry, self._job.assignment) if place.finished else ""
        except OSError:
            return False  # whoever grades it again will say what is wrong
        return place.key == self._keys.key(entry.name, digest)

    def _is_finished(self, entry: Entry) -> bool:
        place = self._journal.place(entry.name)
        return place is not None and place.finished and entry.name in self.current

    def _take(self, result: Result, level: Isolation) -> None:
        """Keeps a result under the digest of what was graded: files change, while others wait."""
        digest = "" if result.status in OPEN else result.digest
        # Kept and counted together: whoever stops the run in between is told a wrong number.
        with unstoppable():
            with _writing(self._out):
                self._journal.append(self._keys.key(result.submission, digest), level, result)
            self.current.add(result.submission)
            self._graded += 1


def _entries(folder: Path, assignment: str, out: Path) -> list[Entry]:
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(folder)):
        raise UserError(
            f"{out} lies in {folder}, where it would be taken for a submission: give --out a "
            "folder outside."
        )
    try:
        entries = find_submissions(folder)
    except OSError as error:
        raise UserError(refusal(error, folder)) from None
    if not entries:
        raise UserError(f"{folder} holds no submissions: no .py, .ipynb or .zip file, no folder.")
    held = [holds_only(entry) for entry in entries]
    if all(held) and not any(assignment in names for names in held):
        others = " and ".join(sorted(frozenset().union(*held)))
        raise UserError(f"{folder} holds work for {others} and none for {assignment}.")
    return entries


def _wanted(entries: Sequence[Entry], only: Sequence[str], folder: Path) -> list[Entry]:
    names = {entry.name for entry in entries}
    for name in only:
        if name not in names:
            near = get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else "names are those of files and folders."
            raise UserError(f"{folder} holds no submission called {name!r}: {hint}")
    return [entry for entry in entries if not only or entry.name in only]


def _settings(assignment: str) -> Settings:
    return course_settings(assignment, Path.cwd())


def _seed(out: Path, wanted: int | None, *, keep: bool) -> int:
    """The seed to grade with: that ``wanted``, else the one of the folder for results.

    It is on disk before anything is judged with it. A seed that is wanted for once, and not to
    ``keep``, leaves the folder's as it is.
    """
    if wanted is not None and not keep:
        return wanted
    if wanted is None and not (out / SEED).exists():
        wanted = _published_seed(out)
        if wanted == PUBLIC_SEED:
            Console().print(
                f"{out} was graded with seed 0, which is public: everything is graded again with "
                "a new random seed. (--seed 0 keeps the old one.)",
                markup=False,
                highlight=False,
            )
            wanted = None
    with _writing(out):
        return kept_seed(out / SEED, wanted)


def _published_seed(out: Path) -> int | None:
    """The seed of the results in a folder that does not keep it apart; None where none is known."""
    try:
        return read_run(out).seed
    except UserError:
        return None  # a folder without results, or with a run.json that this run replaces


def _workers(asked: int | None, waiting: int, memory_mib: int) -> int:
    """How many workers to start: those ``asked`` for, else as many as cores and memory allow.

    Where memory may not suffice, it says so, and what is done about it.
    """
    wanted = min(asked or cores(), waiting)
    available, needed = available_mib(), needed_mib(wanted, memory_mib)
    if needed <= available:
        return wanted
    fit = workers_that_fit(wanted, memory_mib, available)
    many = f"{wanted} workers" if wanted > 1 else "1 worker"
    if asked or fit == wanted:
        does = "a submission that the system kills for lack of memory is graded again, alone"
    else:
        does = f"grading with {fit}; --workers {wanted} insists"
    Console(stderr=True).print(
        f"{many} may need {needed / 1024:.1f} GiB, as each submission may use {memory_mib} MiB "
        f"(memory_mib), and {available / 1024:.1f} GiB are available: {does}.",
        markup=False,
        highlight=False,
    )
    return wanted if asked else fit


def _check_points(job: Job) -> None:
    """Raise SettingsError if points are given to a check that does not exist."""
    if not job.settings.points:
        return
    # What checks there are takes torch to say, which this process does without.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        process.submit(_plan, job.assignment, job.settings).result()


def _plan(assignment: str, settings: Settings) -> None:
    from harness.probes import plan

    plan(load_assignment(assignment), settings)


@contextmanager
def spawner_for(
    isolation: Isolation | None, packages: Sequence[str] = ()
) -> Iterator[Zygote | None]:
    """Where all workers' children come from; None where a system has only the level minimal.

    Raises SpawnerError where the level, or without a name any that holds, cannot be had.
    """
    if not can_fork():
        if isolation != "minimal":
            raise SpawnerError("only Linux can lock a process down")
        yield None
        return
    from grading.sandbox.zygote import Zygote

    with Zygote([isolation] if isolation else LOCKED, packages) as zygote:
        yield zygote


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], None]]:
    """A progress bar; what it gives is called with the name of each submission that is done."""
    columns = (
        TextColumn("Grading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[latest]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Grading", total=total, latest="")
        yield lambda name: progress.update(task, advance=1, latest=visible_line(name)[:40])


@contextmanager
def _journal_in(out: Path) -> Iterator[Journal]:
    """The journal in the folder for results, which is made, tried, and kept from other runs."""
    with ExitStack() as stack:
        with _writing(out):
            _prepare(out)
            try:
                stack.enter_context(only_run_in(out))
            except Busy:
                raise UserError(
                    f"Another run is writing to {out}: wait until it has ended, or give another "
                    "folder with --out."
                ) from None
            for name in (LINES, GRADES, RUN, OVERRIDES, journals.FILE):
                unfinished(out / name).unlink(missing_ok=True)
            by = ", ".join(" ".join(each) for each in versions().items())
            journal = Journal(out / journals.FILE, by)
        try:
            yield journal
        finally:
            with _writing(out):
                journal.close()


def _prepare(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file: give --out a folder for the results.")
    out.mkdir(parents=True, exist_ok=True)
    for name in (LINES, GRADES, RUN, journals.FILE):
        if (out / name).is_dir():
            raise UserError(f"{out / name} is a folder: move it away, or give another --out.")


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or out
        raise UserError(f"{where} cannot be written: {error.strerror}.") from None
