"""Does a network learn with the student's functions, step by step as with the reference's?"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from harness.candidate.operations import Candidate
from harness.probes.context import Errored, Failed, for_staff, in_words
from harness.training.task import Run, Task, train_candidate, train_reference

# A right backward in float32 drifts by about 1e-5 of a parameter over a training; a wrong one
# that slipped through everything else is off by far more within a few steps.
TRAIL = 1e-3


def training(
    task: Task, candidate: Candidate, references: tuple[tuple[str, Callable[..., Tensor]], ...]
) -> Run:
    """A network learns {name} with your functions"""
    right = train_reference(task, references)
    run = train_candidate(task, candidate)
    if run.trouble:
        said, detail = in_words("your code", run.trouble)
        raise Errored(
            f"Training stopped after {len(run.costs)} of {task.steps} steps: {said}",
            detail,
            staff=for_staff(run.trouble),
        )
    step = first_step_astray(run, right)
    if step is not None:
        raise Failed(
            f"Training leaves the right path at step {step + 1} of {task.steps}.",
            "Each step is held against the same step with torch's own gradients. Does a function "
            "change what it does from call to call?",
            staff=f"cost {run.costs[step]!r}, reference {right.costs[step]!r}",
            got=run.costs[step],
        )
    if run.accuracy is None or run.accuracy < task.accuracy:
        raise Failed(
            f"The trained network gets {run.accuracy or 0:.1%} of the unseen samples right; "
            f"{task.accuracy:.0%} is asked for."
        )
    return run


def first_step_astray(run: Run, right: Run) -> int | None:
    """The first step after which a parameter is not where the reference's is, or None."""
    astray = [
        int(step)
        for name, theirs in right.path.items()
        for step in (~_near(run.path[name], theirs)).nonzero()[:1]
    ]
    return min(astray, default=None)


def _near(mine: Tensor, theirs: Tensor) -> Tensor:
    """For each step, whether it is near enough; nan is not."""
    size = _largest(theirs) + 1e-3
    return _largest(mine - theirs) <= TRAIL * size


def _largest(rows: Tensor) -> Tensor:
    return rows.abs().reshape(len(rows), -1).amax(1)
