"""Check that a network learns with the student's functions, at every step as with torch's."""

from torch import Tensor

from harness.candidate.operations import Candidate
from harness.probes.context import Errored, Failed, for_staff, in_words
from harness.training.task import Run, Task, train_candidate

# A right backward in float32 drifts by about 1e-5 of a parameter over a training; a wrong one
# that slipped through everything else is off by far more within a few steps.
PATH = 1e-3


def training(task: Task, candidate: Candidate, reference: Run) -> Run:
    """Train a network with the student's functions. Raise Failed if it does not learn.

    Every step has to lead where the ``reference`` went.
    """
    run = train_candidate(task, candidate)
    if run.trouble:
        said, detail = in_words("your code", run.trouble)
        raise Errored(
            f"Training stopped after {len(run.costs)} of {task.steps} steps: {said}",
            detail,
            staff=for_staff(run.trouble),
        )
    if (step := first_wrong_step(run, reference)) is not None:
        raise Failed(
            f"Training leaves the right path at step {step + 1} of {task.steps}.",
            "Each step is held against the same step with torch's own gradients. Does a function "
            "change what it does from call to call?",
            staff=f"cost {run.costs[step]!r}, reference {reference.costs[step]!r}",
            got=run.costs[step],
        )
    if run.accuracy is None or run.accuracy < task.accuracy:
        reached = f"gets {run.accuracy or 0:.1%} of the unseen samples right"
        if task.explains:
            reached = f"explains {run.accuracy or 0:.1%} of the variance of unseen samples"
        raise Failed(f"The trained network {reached}; {task.accuracy:.0%} is asked for.")
    return run


def first_wrong_step(run: Run, reference: Run) -> int | None:
    """Return the first step after which a parameter differs from the reference's, or None."""
    wrong: list[int] = []
    for name, right in reference.path.items():
        near = _max_abs(run.path[name] - right) <= PATH * (_max_abs(right) + 1e-3)
        wrong += map(int, (~near).nonzero()[:1])  # nan is not near
    return min(wrong, default=None)


def _max_abs(rows: Tensor) -> Tensor:
    return rows.abs().reshape(len(rows), -1).amax(1)
