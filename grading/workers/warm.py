"""What all workers need and none changes, made once in the process that they are forked from.

That process imports this module before there is any work; the environment tells it the assignment,
the seed and the course.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from grading.workers import selftest, worker
from grading.workers.jobs import WARM
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment, use_course
from harness.errors import UserError
from harness.judging.judge import judge
from harness.updates.optimizer import as_class


def make_ready(assignment_name: str, seed: int, only: Iterable[str] | None = None) -> None:
    """Judge the references, so that cases, their right answers and the training are cached."""
    assignment = load_assignment(assignment_name)
    references = {
        stage.name: type("Reference", (), {"apply": staticmethod(stage.forward)})
        for stage in assignment.stages
    }
    references |= {each.name: as_class(each) for each in assignment.optimizers}
    judge(assignment, Workbench(references, trusted=True), seed=seed, only=only)


def _make_ready_as_told() -> None:
    name, seed, course = (*os.environ.pop(WARM, "").split(" ", 2), "", "")[:3]
    if name:
        use_course(Path(course) if course else None)
        # A declaration that cannot be used is told where it is asked for.
        with suppress(UserError):
            make_ready(name, int(seed))
        make_ready(selftest.ASSIGNMENT, selftest.SEED, selftest.known_checks())
        worker.share_what_is_here()


_make_ready_as_told()
