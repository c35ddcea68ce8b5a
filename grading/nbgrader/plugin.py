"""nbgrader's commands with the judge in the kernel's place; `nbgrader_config.py` calls `configure`.

Students' code runs behind the wall of `grading.sandbox`, and nowhere near the gradebook.
"""

from __future__ import annotations

import atexit
import glob
import os
import shutil
import sysconfig
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import nbformat
from jinja2 import pass_context
from nbconvert.exporters import NotebookExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
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

from grading.confined.software import MissingPackage
from grading.confined.source import Unreadable, read_source
from grading.errors import refusal
from grading.nbgrader.marks import Task, fill_outputs, find_task, judge_points
from grading.nbgrader.notebooks import REASON, add_missing, mend, read_submitted
from grading.nbgrader.release import give_points, refuse_leaks
from grading.results.lines import Result
from grading.sandbox import LEVELS, LOCKED, Isolation, Spawner, SpawnerError, can_fork, open_spawner
from grading.submissions.reading import Submission
from grading.workers.seeds import LARGEST, kept_seed
from harness.course.assignments import NAMES
from harness.course.settings import SETTINGS_FILE
from harness.errors import UserError

if TYPE_CHECKING:
    from traitlets.config import Config

# Files that are neither copied to students nor taken from them: names that begin with a dot too.
IGNORED = ["*.pyc", "__pycache__", "feedback", ".*"]
# In the course's folder, from which nbgrader hands nothing out.
SEED = ".backprop-seed"
TRIES = 2
NOT_LOCKED = (
    "WARNING: submissions are NOT locked down (isolation: minimal). Each runs in a process of its "
    "own that can read your files, the gradebook among them. Grade only code you trust."
)


def configure(config: Config, isolation: Isolation | None = None) -> None:
    """Sets nbgrader up for a course with ``solutions/`` and ``assignments/``.

    ``isolation`` insists on a level of the wall; without it, the best that this machine gives of
    those that hold against strangers' code. What a course sets afterwards counts over this.
    """
    config.CourseDirectory.source_directory = "solutions"
    config.CourseDirectory.release_directory = "assignments"
    config.CourseDirectory.ignore = IGNORED
    config.GenerateAssignment.exporter_class = SourceNotebooks
    config.Autograde.exporter_class = SubmittedNotebooks
    config.Autograde.sanitize_preprocessors = [
        ClearOutput,
        MendCells,
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
    _put_alembic_on_path()


def _put_alembic_on_path() -> None:
    """nbgrader calls it by its name for a new gradebook, and leaves half of one without it."""
    if shutil.which("alembic") is None:
        scripts = sysconfig.get_path("scripts")
        os.environ["PATH"] = os.pathsep.join(filter(None, (os.environ.get("PATH"), scripts)))


class _Workplace:
    """Where students' processes come from: opened once, for all submissions of this process."""

    def __init__(self) -> None:
        self._spawner: Spawner | None = None
        self._packages: Sequence[str] = ()

    def spawner(self, levels: Sequence[Isolation], packages: Sequence[str]) -> Spawner:
        """The spawner. Raises SpawnerError where none of ``levels`` can be had."""
        if packages != self._packages:
            self.leave()
        if self._spawner is None:
            self._spawner, self._packages = _opened(levels, packages), packages
            atexit.register(self.leave)
        return self._spawner

    def leave(self) -> None:
        """Ends it, and every process it has made. Can be repeated."""
        atexit.unregister(self.leave)
        spawner, self._spawner = self._spawner, None
        if spawner is not None:
            spawner.close()


workplace = _Workplace()


def _opened(levels: Sequence[Isolation], packages: Sequence[str]) -> Spawner:
    spawner = open_spawner(levels, packages)
    if can_fork():
        from grading.sandbox.zygote import Zygote

        assert isinstance(spawner, Zygote)
        # It warms up while this side loads torch.
        import grading.workers.worker  # noqa: F401 - which keeps torch to one thread

        spawner.wait()
    from grading.workers.selftest import judge_known

    try:
        judge_known(spawner)
    except BaseException:
        spawner.close()
        raise
    return spawner


class _Exporter(NotebookExporter):
    """Reads the notebooks of one of nbgrader's steps; it is made before the step changes a file."""

    parent: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._tasks: dict[str, Task | None] = {}
        try:
            self.prepare(dict.fromkeys(map(self._assignment, self._notebooks())))
        except UserError as error:
            self.refuse(str(error))

    def prepare(self, assignments: Iterable[str]) -> None:
        """Makes sure that the step can be taken on these assignments."""
        raise NotImplementedError

    def task(self, assignment: str) -> Task | None:
        """The harness's assignment that one of the course is; None where it is none of those."""
        if assignment not in self._tasks:
            self._tasks[assignment] = find_task(self.source(assignment))
        return self._tasks[assignment]

    def source(self, assignment: str) -> Path:
        """The folder of an assignment in ``solutions/``."""
        course = self.parent.coursedir
        return Path(course.format_path(course.source_directory, ".", assignment))

    def refuse(self, sentence: str) -> NoReturn:
        """Ends the command with one sentence, and changes nothing."""
        self.log.error(sentence)
        raise NbGraderException(sentence)

    def _notebooks(self) -> list[str]:
        return [path for paths in self.parent.assignments.values() for path in paths]

    def _assignment(self, notebook: str) -> str:
        resources = self.parent.init_single_notebook_resources(notebook)
        return str(resources["nbgrader"]["assignment"])


class SourceNotebooks(_Exporter):
    """The instructor's notebooks, for ``nbgrader generate_assignment``."""

    def prepare(self, assignments: Iterable[str]) -> None:
        """Refuses what would hand a solution out, or delete what nobody can make again."""
        for name in assignments:
            if self.task(name):
                refuse_leaks(self.source(name))
                if self.parent.force:
                    self._refuse_losses(name)

    def from_notebook_node(self, nb: NotebookNode, resources: Any = None, **options: Any) -> Any:
        """Gives the check cells the points that the settings say, before nbgrader keeps them."""
        where = resources["nbgrader"]
        if task := self.task(where["assignment"]):
            give_points(nb, task.planned, task.folder / f"{where['notebook']}.ipynb")
        return super().from_notebook_node(nb, resources, **options)  # type: ignore[no-untyped-call]

    def _refuse_losses(self, name: str) -> None:
        course = self.parent.coursedir
        target = Path(course.format_path(course.release_directory, ".", name))
        for path in sorted(target.rglob("*")):
            if path.is_file() and not (self.source(name) / path.relative_to(target)).is_file():
                self.refuse(
                    f"{path} is not made from {self.source(name)}, and --force would delete it: "
                    "move it away first. (backprop release keeps it, and leaves the gradebook.)"
                )


class SubmittedNotebooks(_Exporter):
    """Students' notebooks, for ``nbgrader autograde``."""

    def prepare(self, assignments: Iterable[str]) -> None:
        """Refuses to mark what cannot be marked, for all submissions at once."""
        if self.config.Execute.get("enabled") is False:
            self.refuse(
                "--no-execute would give everyone full marks, as nbgrader does where a check cell "
                "has no output: leave it out."
            )
        packages: list[Sequence[str]] = []
        for name in assignments:
            task = self.task(name)
            if task is None:
                self.refuse(
                    f"{name} is not an assignment of this harness ({', '.join(NAMES)}): name the "
                    f"one that it is in {self.source(name) / SETTINGS_FILE}, or autograde it where "
                    "nbgrader_config.py does not use grading.nbgrader.plugin."
                )
            self._judge_gradebook(name, task)
            self._tell_locked(name)
            packages.append(task.settings.packages)
        judge = JudgeBehindWall(parent=self)
        try:
            judge.hidden_seed()
            for each in packages:
                judge.open(each)
        except UserError as error:
            self.refuse(str(error))
        except OSError as error:
            self.refuse(
                f"{error.filename} cannot be read or written: {error.strerror}. It keeps the seed "
                "of the course's hidden inputs; everyone who grades the course needs access to it."
            )
        except MissingPackage as error:
            self.refuse(f"{error}.")
        except SpawnerError as error:
            self.refuse(
                f"This machine cannot lock submissions down ({error}): `backprop doctor` says what "
                "to install."
            )
        if judge.isolation == "minimal":
            self.log.warning(NOT_LOCKED)

    def from_filename(self, filename: str, resources: Any = None, **options: Any) -> Any:
        """A notebook as it was handed in is data; as it was sanitised, it is nbgrader's own."""
        if not self.parent._sanitizing:
            return super().from_filename(filename, resources, **options)
        path = Path(filename)
        where = resources["nbgrader"]
        copies = Path(self.parent._format_dest(where["assignment"], where["student"]))
        resources["metadata"] = {"name": path.stem, "path": str(path.parent)}
        try:
            self._drop_links(path.parent, copies, self.source(where["assignment"]))
            nb = read_submitted(path)
        except OSError as error:
            # nbgrader goes on with the next student, and gives this one no mark.
            self.log.error("%s %s has no mark.", refusal(error, path), where["student"])
            raise
        return self.from_notebook_node(nb, resources, **options)  # type: ignore[no-untyped-call]

    def _drop_links(self, submitted: Path, copies: Path, source: Path) -> None:
        """nbgrader has copied what links point to, and would hand it out with the feedback."""
        for link in filter(Path.is_symlink, submitted.rglob("*")):
            name = link.relative_to(submitted)
            if (copies / name).is_file() and not (source / name).is_file():
                (copies / name).unlink()
                self.log.warning("%s is a link, which is not followed", link)

    def _tell_locked(self, name: str) -> None:
        """Name the folders that nbgrader passes over in silence, as it cannot look into them."""
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
                self.log.error("%s There is no mark for what is in it.", refusal(error, path))

    def _judge_gradebook(self, name: str, task: Task) -> None:
        course = self.parent.coursedir
        with Gradebook(course.db_url, course.course_id) as gradebook:
            try:
                notebooks = gradebook.find_assignment(name).notebooks
            except MissingEntry:
                self.refuse(f"{name} is not in the gradebook: run nbgrader generate_assignment.")
            for notebook in notebooks:
                sources = {cell.name: cell.source for cell in notebook.source_cells}
                answers = {cell.name for cell in notebook.solution_cells}
                for cell in notebook.grade_cells:
                    if cell.name not in answers:
                        judge_points(task, cell.name, sources[cell.name], cell.max_score)


class MendCells(NbGraderPreprocessor):  # type: ignore[misc]
    """Gives a submitted notebook's cells the marks that they had when it was handed out."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Puts nbgrader's metadata right, and says what was changed."""
        for change in _with_gradebook(mend, nb, resources):
            self.log.warning("%s: %s; put right", resources["nbgrader"]["student"], change)
        return nb, resources


class AddMissingCells(NbGraderPreprocessor):  # type: ignore[misc]
    """Adds the cells with points that were deleted from a submitted notebook."""

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Adds them at the end, and says which."""
        for id in _with_gradebook(add_missing, nb, resources):
            self.log.warning("%s: cell %r was missing; added", resources["nbgrader"]["student"], id)
        return nb, resources


def _with_gradebook(
    change: Callable[[NotebookNode, Any, str, str], list[str]], nb: NotebookNode, resources: Any
) -> list[str]:
    where = resources["nbgrader"]
    with Gradebook(where["db_url"]) as gradebook:
        return change(nb, gradebook, where["notebook"], where["assignment"])


class JudgeBehindWall(Execute):  # type: ignore[misc]
    """Takes the kernel's place: judges the notebook's code, and fills in the check cells.

    Nothing is ever written to stderr, and each check cell's result is a plain float.
    """

    isolation = Enum(
        [*LEVELS, None],
        default_value=None,
        help="Insist on this level of isolation; the best that locks submissions down if unset.",
    ).tag(config=True)
    seed = Integer(
        None,
        allow_none=True,
        min=0,
        max=LARGEST,
        help="Which hidden inputs to try. Default: the course's own seed, drawn at random.",
    ).tag(config=True)

    def hidden_seed(self) -> int:
        """The seed to judge with: the one that is set, else the course's.

        Raises UserError or OSError where the course's cannot be had.
        """
        if self.seed is not None:
            return int(self.seed)
        return kept_seed(Path(self.parent.parent.coursedir.root) / SEED)

    def open(self, packages: Sequence[str]) -> Spawner:
        """Return where students' processes come from, which can import ``packages`` too.

        Raises SpawnerError where none can be had.
        """
        return workplace.spawner([self.isolation] if self.isolation else LOCKED, packages)

    def preprocess(self, nb: NotebookNode, resources: Any) -> tuple[NotebookNode, Any]:
        """Judges a sanitised notebook. A fault of the grader's own raises, and gives no mark."""
        student = resources["nbgrader"]["student"]
        task = self.parent.task(resources["nbgrader"]["assignment"])
        result = self._judged(_submission(nb, student), task)
        fill_outputs(nb, result, task)
        self.log.info("%s: %g of %g points", student, result.score, result.max_score)
        return nb, resources

    def _judged(self, submission: Submission, task: Task) -> Result:
        from grading.workers.grader import grade_alone

        for attempt in range(1, TRIES + 1):
            try:
                spawner = self.open(task.settings.packages)
                return grade_alone(
                    submission, task.assignment, task.settings, self.hidden_seed(), spawner
                )
            except SpawnerError as error:
                workplace.leave()
                if attempt == TRIES:
                    self.log.error(
                        "The grader itself failed (%s): %s has no mark. Run nbgrader autograde "
                        "again; `backprop doctor` says what is wrong with this machine.",
                        error,
                        submission.name,
                    )
                    raise
        raise AssertionError("the last try returns or raises")


def _submission(nb: NotebookNode, student: str) -> Submission:
    """The code of a sanitised notebook, or why there is none. nbgrader has parsed it already."""
    if REASON in nb.metadata:
        return Submission(student, "", reason=nb.metadata[REASON])
    try:
        text: str = nbformat.writes(nb)  # type: ignore[no-untyped-call]
        source = read_source("notebook.ipynb", text.encode())
    except Unreadable as why:
        return Submission(student, "", reason=str(why))
    return Submission(student, "", source=source)


class _InertRenderer(IPythonRenderer):
    """Markdown without HTML, scripts, diagrams that run, or pictures that are not there."""

    def block_mermaidjs(self, code: str) -> str:
        """A diagram as the text that it was written as."""
        return self.block_code(code, None)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        """A picture; its text where it names an attachment that the cell has not."""
        prefix = "attachment:"
        if url.startswith(prefix) and url.removeprefix(prefix) not in self.attachments:
            return self.escape_html(text)
        shown: str = super().image(text, url, title)
        return shown


@pass_context
def inert_markdown(context: Any, source: str) -> str:
    """nbconvert's filter of this name, for text that strangers wrote: HTML in it stays text."""
    cell = context.get("cell", {})
    renderer = _InertRenderer(
        escape=True, allow_harmful_protocols=False, attachments=cell.get("attachments", {})
    )
    shown: str = MarkdownWithMath(renderer=renderer).render(source)
    return shown
