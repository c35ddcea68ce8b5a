"""The functions that a handout imports, ``check`` and ``train``; they judge its own classes."""

import ast
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness.candidate.forms import Pair
from harness.candidate.operations import Candidate, Chained, Descend, Operation, Reply
from harness.candidate.workbench import Workbench, is_apply
from harness.course.assignment import Assignment
from harness.course.report import Report
from harness.course.settings import for_student, settings_beside
from harness.drawing.chain import Picture, chain_picture
from harness.drawing.circuit import circuit_picture
from harness.errors import did_you_mean
from harness.judging.judge import judge
from harness.language import tr
from harness.probes import plan
from harness.show.live import Tell, progress
from harness.show.notebook import report_html
from harness.show.text import report_text
from harness.training.task import Run

_CHANGEABLE = tr("These marks come from the submission's own process, which can change them.")
# nbgrader sets the variable where it runs submissions in a kernel for their marks.
_UNTRUSTED = (
    f"<p><em>{_CHANGEABLE}</em></p>" if os.environ.get("NBGRADER_EXECUTION") == "autograde" else ""
)


@dataclass(frozen=True)
class Checked:
    """The result of a check: a picture in a notebook, text elsewhere, a number for nbgrader.

    After a training that passed, ``run`` is its run and ``reference`` the one with torch's own
    gradients; their ``costs`` can be plotted.
    """

    report: Report
    assignment: Assignment
    run: Run | None = None
    reference: Run | None = None

    @property
    def score(self) -> float:
        """The points reached."""
        return self.report.score

    def __float__(self) -> float:
        return self.report.score

    def __repr__(self) -> str:
        return report_text(self.report, self.run, self.reference)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        # nbgrader reads a cell's partial credit as float(text/plain).
        html = report_html(self.report, self.assignment, self.run, self.reference)
        return {"text/plain": repr(float(self.report.score)), "text/html": html + _UNTRUSTED}


class _Watched(Workbench):
    """A workbench that reports the progress of training."""

    def __init__(self, names: dict[str, Any], pairs: dict[str, Pair], tell: Tell) -> None:
        super().__init__(names, pairs)
        self._tell = tell

    def perform(self, operations: Sequence[Operation]) -> list[Reply]:
        """Perform the operations; a training comes as one list of steps."""
        if not isinstance(operations[-1], Descend):
            return super().perform(operations)
        replies: list[Reply] = []
        for operation in operations:
            reply = self.perform_one(operation)
            replies.append(reply)
            cost = reply.cost if isinstance(reply, Chained) else None
            self._tell(len(replies), len(operations), cost)
        return replies


@dataclass(frozen=True)
class Handout:
    """The functions that an assignment's handout imports."""

    assignment: Assignment

    def check(self, *parts: Callable[..., Any]) -> Checked:
        """Check the given classes, such as ``check(Sigmoid)``, each by itself.

        Of a pair of functions give both. Show the result as the last expression of a cell. Raise
        TypeError for anything that is not part of this assignment.
        """
        names = self._named(parts)
        stages = [each for each in self.assignment.stages if {*each.parts} & {*names}]
        for stage in stages:
            if {*stage.parts} - {*names}:
                raise TypeError(
                    tr("check {parts} together").format(parts=" and ".join(stage.parts))
                )
        candidate = Workbench(names, self.assignment.pairs)
        # A stage may be called otherwise than its functions; an optimizer is called as its class.
        return self._judged({*names, *(stage.name for stage in stages)}, candidate)

    def train(self, *parts: Callable[..., Any]) -> Checked:
        """Try all classes of the assignment together, and train its network with them.

        The gradients are checked first; a failure there is reported instead. Raise TypeError
        unless every class of the assignment is given, and they form a network.
        """
        if not self.assignment.network:
            said = tr("the classes form no network to train: check() tries each of them")
            raise TypeError(said)
        names = self._named(parts)
        every = [name for stage in self.assignment.stages for name in stage.parts]
        missing = [name for name in every if name not in names]
        if missing:
            said = tr("train() needs all stages: call train({every}); {missing} is missing")
            raise TypeError(said.format(every=", ".join(every), missing=missing[0]))
        with progress() as tell:
            return self._judged([None], _Watched(names, self.assignment.pairs, tell))

    def draw_chain(
        self, *, derivatives: bool = False, back: int | None = None, **values: float
    ) -> Picture:
        """Draw the chain from the inputs to the cost; ``derivatives`` writes out what each is.

        Given all ``values`` that a chain of numbers begins with, it shows the others too, and the
        gradients along the first ``back`` edges from the cost down (default: all). What has no
        chain, or none that can be drawn well, is a list of stages.
        """
        if values:
            return circuit_picture(self.assignment, values, back)
        return chain_picture(self.assignment, derivatives=derivatives)

    def _judged(self, stages: Collection[str | None], candidate: Candidate) -> Checked:
        settings = settings_beside(Path.cwd(), self.assignment.name)
        wanted = [check.id for check in plan(self.assignment, settings) if check.stage in stages]
        with _on_the_cpu():
            judged = judge(self.assignment, candidate, settings=settings, only=wanted)
        report = for_student(judged.report, settings)
        return Checked(report, self.assignment, judged.run, judged.reference)

    def _named(self, parts: tuple[Any, ...]) -> dict[str, Any]:
        known = [name for those in self.assignment.parts for name in those]
        pairs = (stage.parts for stage in self.assignment.stages if stage.pair)
        functions = {name for those in pairs for name in those}
        classes = {*known} - functions - {each.name for each in self.assignment.detectives}
        if not parts:
            first = ", ".join(self.assignment.parts[0])
            raise TypeError(tr("name what to check, such as check({first})").format(first=first))
        parts = tuple(each.__self__ if is_apply(each) else each for each in parts)
        for each in parts:
            if isinstance(each, torch.autograd.Function):
                made = type(each).__name__
                said = tr("pass the class: check({made}), and not check({made}(…))")
                raise TypeError(said.format(made=made))
            name = getattr(each, "__name__", None)
            if name not in known or isinstance(each, type) != (name in classes):
                shown = name or repr(each)[:80]
                said = tr("{shown} is not part of this assignment; its parts are {parts}.")
                said = said.format(shown=shown, parts=", ".join(known))
                raise TypeError(said + did_you_mean(shown, known))
        for each in parts:
            _check_is_current(each.__name__)
        return {each.__name__: each for each in parts}


@contextmanager
def _on_the_cpu() -> Iterator[None]:
    """Make new tensors on the CPU meanwhile, whatever the notebook has set."""
    # torch.get_default_device fails in torch 2.4, once the device was set to None.
    device = torch.empty(0).device
    if device.type == "cpu":
        yield
        return
    torch.set_default_device(None)
    try:
        yield
    finally:
        torch.set_default_device(device)


def _check_is_current(name: str) -> None:
    """Raise RuntimeError if the last cell run that defines ``name`` cannot be parsed.

    It has defined nothing then, and what has the name is of an earlier cell.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return
    defines = re.compile(rf"^(?:class|def) {re.escape(name)}\b", re.MULTILINE)
    cells = shell.history_manager.input_hist_raw
    count = max((at for at, text in enumerate(cells) if defines.search(text)), default=0)
    try:
        ast.parse(shell.transform_cell(cells[count]))
    except SyntaxError as error:
        said = tr(
            "{name} is still the one from before: cell {count}, which should define it, has a "
            "syntax error in line {line}: {error}. Correct it, and run it again."
        ).format(name=name, count=count, line=error.lineno, error=error.msg)
        raise RuntimeError(said) from None
