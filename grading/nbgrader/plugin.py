"""nbgrader's commands with the judge in the kernel's place; `nbgrader_config.py` calls `configure`.

Students' code runs behind the wall of `grading.sandbox`, and nowhere near the gradebook. Every
command of nbgrader imports this; those that neither release nor grade do without torch.
"""

from __future__ import annotations

import atexit
import glob
import os
import shutil
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import nbformat
from nbconvert.exporters import NotebookExporter
from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters.base import NbGraderException
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearOutput,
    Execute,
    IgnorePattern,
    LimitOutput,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
)
from nbgrader.preprocessors.base import NbGraderPreprocessor
from traitlets import Enum, Integer

from grading.errors import isolated, not_isolated, refusal, refused_as
from grading.nbgrader.handed_in import HandedIn, find_work, unmark
from grading.nbgrader.markdown import inert_markdown
from grading.nbgrader.marks import Task, fill_outputs, find_task, judge_points
from grading.nbgrader.notebooks import REASON, add_missing, fix_cells
from grading.nbgrader.release import IGNORED, files_kept_back, give_points, refuse_leaks
from grading.parsing.choosing import Sought
from grading.parsing.source import Unreadable, read_source
from grading.results.lines import Result
from grading.sandbox import LEVELS, LOCKED, Isolation, Spawner, SpawnerError, open_spawner
from grading.submissions.reading import Submission
from grading.workers.seeds import LARGEST, kept_seed
from harness.course.assignments import (
    DECLARATION,
    SHIPPED,
    is_declared,
    module_of,
    release_in,
    source_in,
)
from harness.course.settings import SETTINGS_FILE
from harness.errors import UserError

if TYPE_CHECKING:
    from traitlets.config import Config

# In the course's folder, from which nbgrader hands nothing out.
SEED = ".backprop-seed"


def configure(config: Config, isolation: Isolation | None = None) -> None:
    """Set nbgrader up for a course with ``solutions/`` and ``assignments/``, or its own layout.

    ``isolation`` is the isolation level to require. Default: the strongest available one that is
    safe for untrusted code. What a course sets afterwards overrides this.
    """
    course = Path(config.CourseDirectory.get("root", ""))
    config.CourseDirectory.source_directory = os.path.relpath(source_in(course), course)
    config.CourseDirectory.release_directory = os.path.relpath(release_in(course), course)
    config.CourseDirectory.ignore = IGNORED
    config.GenerateAssignment.exporter_class = SourceNotebooks
    config.Autograde.exporter_class = SubmittedNotebooks
    config.Autograde.sanitize_preprocessors = [
        ClearOutput,
        FixCells,
        OverwriteKernelspec,
        OverwriteCells,
        AddMissingCells,
        CheckCellMetadata,
    ]
    config.Autograde.autograde_preprocessors = [
        JudgeBehindWall,
        IgnorePattern,
        ClearMetadataPreprocessor,
        LimitOutput,
        SaveAutoGrades,
        AssignLatePenalties,
        CheckCellMetadata,
    ]
    config.JudgeBehindWall.isolation = isolation
    # The formgrader shows students' words in the browser of someone who can set every mark.
    config.HTMLExporter.filters = {"markdown2html": inert_markdown}
    # Let nbgrader find the program for a new gradebook, which it leaves half made without it.
    if shutil.which("alembic") is None:
        scripts = sysconfig.get_path("scripts")
        os.environ["PATH"] = os.pathsep.join(filter(None, (os.environ.get("PATH"), scripts)))


_places = ExitStack()


@cache
def place(levels: tuple[Isolation, ...], packages: tuple[str, ...]) -> Spawner:
    """Return what starts students' processes, the same for all submissions of this process.

    They can import ``packages`` too. Raise SpawnerError if none of ``levels`` is available.
    """
    return _places.enter_context(_opened(levels, packages))


@atexit.register
def leave() -> None:
    """End every process that was started for students. Can be repeated."""
    place.cache_clear()
    _places.close()


def _opened(levels: Sequence[Isolation], packages: Sequence[str]) -> Spawner:
    spawner = open_spawner(levels, packages)
    try:
        # It warms up while this side loads torch, which the first of these keeps to one thread.
        import grading.workers.worker  # noqa: F401
        from grading.workers.selftest import judge_known

        judge_known(spawner)
    except BaseException:
        spawner.close()
        raise
    return spawner


class _Exporter(NotebookExporter):
    """Reads the notebooks of an nbgrader command; created before the command changes a file."""

    parent: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._tasks: dict[str, Task | None] = {}
        notebooks = chain.from_iterable(self.parent.assignments.values())
        with refused_as(self._refused):
            resources = map(self.parent.init_single_notebook_resources, notebooks)
            names = dict.fromkeys(str(each["nbgrader"]["assignment"]) for each in resources)
            kept_back = files_kept_back(map(self.source, names))
            course = self.parent.coursedir
            course.ignore = list(dict.fromkeys([*course.ignore, *kept_back]))
            self.prepare(names)

    def _refused(self, said: str) -> NbGraderException:
        self.log.error(said)
        return NbGraderException(said)

    def prepare(self, assignments: Iterable[str]) -> None:
        """Raise UserError if the command cannot be run on these assignments."""
        raise NotImplementedError

    def task(self, assignment: str) -> Task | None:
        """Return the harness's assignment for one of the course's, or None where there is none."""
        if assignment not in self._tasks:
            self._tasks[assignment] = find_task(self.source(assignment))
        return self._tasks[assignment]

    def source(self, assignment: str) -> Path:
        """Return the folder of an assignment in ``solutions/``."""
        course = self.parent.coursedir
        return Path(course.format_path(course.source_directory, ".", assignment))


class SourceNotebooks(_Exporter):
    """The instructor's notebooks, for ``nbgrader generate_assignment``."""

    def prepare(self, assignments: Iterable[str]) -> None:
        """Refuse what would hand out a solution or delete a file that nothing can restore."""
        from grading.nbgrader.handout import write_module

        for name in assignments:
            if self.task(name):
                refuse_leaks(self.source(name))
                if is_declared(self.source(name)):
                    write_module(self.source(name))
                if self.parent.force:
                    self._refuse_losses(name)

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **options: Any) -> Any:
        """Give the check cells the points that the settings say, before nbgrader stores them."""
        where = resources["nbgrader"]
        if task := self.task(where["assignment"]):
            give_points(nb, task.planned, task.folder / f"{where['notebook']}.ipynb")
        return super().from_notebook_node(nb, resources, **options)  # type: ignore[no-untyped-call]

    def _refuse_losses(self, name: str) -> None:
        course = self.parent.coursedir
        target = Path(course.format_path(course.release_directory, ".", name))
        for path in sorted(target.rglob("*")):
            if path.is_file() and not (self.source(name) / path.relative_to(target)).is_file():
                raise UserError(
                    f"{path} is not made from {self.source(name)}, and --force would delete it: "
                    "move it away first. (`backprop release` keeps it, and does not touch the "
                    "gradebook.)"
                )


class SubmittedNotebooks(_Exporter):
    """Students' notebooks, for ``nbgrader autograde``."""

    def prepare(self, assignments: Iterable[str]) -> None:
        """Refuse to mark what cannot be marked, for all submissions at once."""
        if self.config.Execute.get("enabled") is False:
            raise UserError(
                "--no-execute would give everyone full marks, as nbgrader does where a check cell "
                "has no output: run the command without it."
            )
        judge = JudgeBehindWall(parent=self)
        for name in assignments:
            task = self.task(name)
            if task is None:
                raise UserError(
                    f"{name} is not an assignment of this harness ({', '.join(SHIPPED)}): set "
                    f"`assignment` in {self.source(name) / SETTINGS_FILE} to one of these, declare "
                    f"it in {DECLARATION} there, or autograde it without "
                    "grading.nbgrader.plugin in nbgrader_config.py."
                )
            self._judge_gradebook(name, task)
            self._log_unreadable(name)
        judge.hidden_seed()
        with isolated('isolation="minimal" in nbgrader_config.py'):
            for task in filter(None, map(self.task, assignments)):
                judge.open(task.settings.packages)
        self.handed_in = self._find_work(judge, assignments)
        if judge.isolation == "minimal":
            self.log.warning(not_isolated("your files, including the gradebook,"))

    def _find_work(self, judge: JudgeBehindWall, assignments: Iterable[str]) -> HandedIn:
        """Return which of a student's files counts, where that is not the one of the right name."""
        from grading.sandbox.reader import Reader

        tasks = {name: task for name in assignments if (task := self.task(name))}
        modules = {task.assignment.name: module_of(task.assignment.name) for task in tasks.values()}
        modules |= {name: module_of(name) for name in SHIPPED}
        declared = filter(is_declared, self.source(next(iter(tasks))).parent.iterdir())
        modules |= {folder.name: module_of(folder.name) for folder in declared}
        sought = {name: Sought(task.assignment.name, modules) for name, task in tasks.items()}
        with Reader(judge.open(next(iter(tasks.values())).settings.packages)) as reader:
            return find_work(self.parent, sought, reader, self.log)

    def from_filename(self, filename: str, resources: Any = None, **options: Any) -> Any:
        """Read a submitted notebook as data, and a sanitised one as nbgrader does."""
        if not self.parent._sanitizing:
            return super().from_filename(filename, resources, **options)
        path = Path(filename)
        where = resources["nbgrader"]
        copies = Path(self.parent._format_dest(where["assignment"], where["student"]))
        resources["metadata"] = {"name": path.stem, "path": str(path.parent)}
        try:
            self._drop_links(path.parent, copies, self.source(where["assignment"]))
            if filename in self.handed_in.elsewhere:
                unmark(where)
            nb = self.handed_in.read(path)
        except OSError as error:
            # nbgrader goes on with the next student, and gives this one no mark.
            self.log.error("%s %s has no mark.", refusal(error, path), where["student"])
            raise
        return self.from_notebook_node(nb, resources, **options)  # type: ignore[no-untyped-call]

    def _drop_links(self, submitted: Path, copies: Path, source: Path) -> None:
        """Delete copies of what links point to: nbgrader would hand them out with the feedback."""
        for link in filter(Path.is_symlink, submitted.rglob("*")):
            name = link.relative_to(submitted)
            if (copies / name).is_file() and not (source / name).is_file():
                (copies / name).unlink()
                self.log.warning("%s is a link, which is not followed", link)

    def _log_unreadable(self, name: str) -> None:
        """Log the folders that nbgrader skips silently because it cannot read them."""
        course = self.parent.coursedir
        step, students = course.submitted_directory, course.student_id
        folders = course.format_path(step, students, "").rstrip(os.sep)
        for path in glob.glob(folders):  # noqa: PTH207 - as nbgrader finds them
            try:
                with os.scandir(Path(path, name)):
                    pass
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                self.log.error("%s Nothing in it gets a mark.", refusal(error, path))

    def _judge_gradebook(self, name: str, task: Task) -> None:
        course = self.parent.coursedir
        with Gradebook(course.db_url, course.course_id) as gradebook:
            try:
                notebooks = gradebook.find_assignment(name).notebooks
            except MissingEntry:
                raise UserError(
                    f"{name} is not in the gradebook: run nbgrader generate_assignment {name} "
                    "--force."
                ) from None
            for notebook in notebooks:
                sources = {cell.name: cell.source for cell in notebook.source_cells}
                answers = {cell.name for cell in notebook.solution_cells}
                for cell in notebook.grade_cells:
                    if cell.name not in answers:
                        judge_points(task, cell.name, sources[cell.name], cell.max_score)


class _AsInGradebook(NbGraderPreprocessor):  # type: ignore[misc]
    """Changes a submitted notebook to what the gradebook says, and logs every change."""

    change: Callable[[NotebookNode, Gradebook, str, str], list[str]]
    message: str

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Change the notebook in place."""
        where = resources["nbgrader"]
        with Gradebook(where["db_url"]) as gradebook:
            changes = self.change(nb, gradebook, where["notebook"], where["assignment"])
        for each in changes:
            self.log.warning(self.message, where["student"], each)
        return nb, resources


class FixCells(_AsInGradebook):
    """Gives the cells the nbgrader metadata that they had when they were handed out."""

    change = staticmethod(fix_cells)
    message = "%s: %s; fixed"


class AddMissingCells(_AsInGradebook):
    """Adds the cells with points that were deleted, at the end."""

    change = staticmethod(add_missing)
    message = "%s: cell %r was missing; added"


class JudgeBehindWall(Execute):  # type: ignore[misc]
    """Judges the notebook's code in the kernel's place, and fills in the check cells.

    Nothing is ever written to stderr, and each check cell's result is a plain float.
    """

    isolation = Enum(
        [*LEVELS, None],
        default_value=None,
        help="Require this isolation level. Default: the strongest available one that is safe for "
        "untrusted code.",
    ).tag(config=True)
    seed = Integer(
        None,
        allow_none=True,
        min=0,
        max=LARGEST,
        help="Seed of the hidden inputs. Default: the course's own, drawn at random.",
    ).tag(config=True)

    def hidden_seed(self) -> int:
        """Return the seed that is set, else the course's.

        Raise UserError if the course's is damaged or cannot be read or written.
        """
        if self.seed is not None:
            return int(self.seed)
        path = Path(self.parent.parent.coursedir.root, SEED)
        try:
            return kept_seed(path)
        except OSError as error:
            raise UserError(
                f"{refusal(error, path, 'read or written')} It keeps the seed of the course's "
                "hidden inputs: everyone who grades the course needs access to it."
            ) from None

    def open(self, packages: Sequence[str]) -> Spawner:
        """Return what starts students' processes, which can import ``packages`` too.

        Raise SpawnerError if it cannot be started.
        """
        return place((self.isolation,) if self.isolation else LOCKED, tuple(packages))

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Judge a sanitised notebook. A fault of the grader raises, and gives no mark."""
        student = resources["nbgrader"]["student"]
        task = self.parent.task(resources["nbgrader"]["assignment"])
        submission = _submission(nb, student)
        if submission.source is not None:
            source = self.parent.handed_in.with_modules(submission.source, resources["nbgrader"])
            submission = msgspec.structs.replace(submission, source=source)
        result = self._judged(submission, task)
        fill_outputs(nb, result, task)
        self.log.info("%s: %g of %g points", student, result.score, result.max_score)
        return nb, resources

    def _judged(self, submission: Submission, task: Task, *, again: bool = True) -> Result:
        from grading.workers.grader import grade_alone

        settings = task.settings
        try:
            spawner = self.open(settings.packages)
            return grade_alone(submission, task.assignment, settings, self.hidden_seed(), spawner)
        except SpawnerError as error:
            leave()
            if again:
                return self._judged(submission, task, again=False)
            self.log.error(
                "The grader itself failed (%s): %s has no mark. Run nbgrader autograde again; "
                "`backprop doctor` says what is wrong with this machine.",
                error,
                submission.name,
            )
            raise


def _submission(nb: NotebookNode, student: str) -> Submission:
    """Return the code of a sanitised notebook, which nbgrader has parsed, or why there is none."""
    if REASON in nb.metadata:
        return Submission(student, "", reason=nb.metadata[REASON])
    try:
        text: str = nbformat.writes(nb)  # type: ignore[no-untyped-call]
        return Submission(student, "", source=read_source("notebook.ipynb", text.encode()))
    except Unreadable as why:
        return Submission(student, "", reason=str(why))
