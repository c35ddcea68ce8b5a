"""Check that a network learns with the student's functions, at every step as with torch's."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from harness.candidate.operations import Candidate, Chain, Chained, Stepped
from harness.language import tr
from harness.probes.context import Errored, Failed, for_staff, in_words
from harness.probes.optimizers import OptimizerContext, stepped
from harness.training.task import Run, Task, examined, reference_candidate, train_candidate
from harness.updates import Optimizer, Trajectory
from harness.updates.trajectory import led_down

# A right backward in float32 drifts by about 1e-5 of a parameter over a training; a wrong one
# that slipped through everything else is off by far more within a few steps.
PATH = 1e-3


def training(task: Task, candidate: Candidate, reference: Run) -> Run:
    """Train a network with the student's functions. Raise Failed if it does not learn.

    Every step has to lead where the ``reference`` went.
    """
    run = train_candidate(task, candidate)
    if run.trouble:
        said, detail = in_words(tr("your code"), run.trouble)
        raise Errored(
            tr("Training stopped after {costs} of {steps} steps: {said}").format(
                costs=len(run.costs), steps=task.steps, said=said
            ),
            detail,
            staff=for_staff(run.trouble),
        )
    if (step := first_wrong_step(run, reference)) is not None:
        raise Failed(
            tr("Training leaves the right path at step {step} of {steps}.").format(
                step=step + 1, steps=task.steps
            ),
            tr(
                "Each step is held against the same step with torch's own gradients. Does"
                " a function change what it does from call to call?"
            ),
            staff=f"cost {run.costs[step]!r}, reference {reference.costs[step]!r}",
            got=run.costs[step],
        )
    if run.accuracy is None or run.accuracy < task.accuracy:
        raise Failed(tr("The trained network {reached}.").format(reached=_reached(run, task)))
    return run


def _reached(run: Run, task: Task) -> str:
    reached = tr("gets {share:.1%} of the unseen samples right").format(share=run.accuracy or 0)
    if task.explains:
        reached = tr("explains {share:.1%} of the variance of unseen samples").format(
            share=run.accuracy or 0
        )
    return tr("{reached}; {accuracy:.0%} is asked for").format(
        reached=reached, accuracy=task.accuracy
    )


References = tuple[tuple[str, Callable[..., Tensor]], ...]


def train_with(context: OptimizerContext, task: Task, references: References) -> None:
    """Train a network with a student's optimizer, along the gradients that the right one meets."""
    trajectory = _trajectory(context.optimizer, task, references)
    (ran,) = context.run("training", [trajectory])
    names = tuple(task.parameters())
    moved = stepped(context, ran)
    right = _reference_path(context.optimizer, trajectory, names)
    path = {name: _rows(moved, at) for at, name in enumerate(names)}
    run, reference = Run((), path, None), Run((), right, None)
    if (step := first_wrong_step(run, reference)) is not None:
        raise context.failed(
            tr("Training leaves the right path at step {step} of {steps}.").format(
                step=step + 1, steps=task.steps
            )
        )
    run = examined(run, task, reference_candidate(references))
    if run.accuracy is None or run.accuracy < task.accuracy:
        raise context.failed(
            tr("The trained network {reached}.").format(reached=_reached(run, task))
        )


def _rows(moved: Sequence[Stepped], at: int) -> Tensor:
    """Return a parameter after each step: `stepped` has seen to it that it is one."""
    found = (step.parameters[at] for step in moved)
    return torch.stack([each for each in found if isinstance(each, Tensor)])


@cache
def _trajectory(optimizer: Optimizer, task: Task, references: References) -> Trajectory:
    """Return the training of the right optimizer: its start, and every gradient that it meets."""
    candidate, start = reference_candidate(references), task.parameters()

    def gradients_at(step: int, now: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        network = task.network(*task.batch(step))
        tensors = {**dict(zip(start, now, strict=True)), **network.tensors}
        costs = dict.fromkeys(network.costs, 1 / len(network.costs))
        (reply,) = candidate.perform(
            [Chain(network.links, tensors, (), tuple(start), costs, network.given)]
        )
        assert isinstance(reply, Chained)
        assert reply.gradient is not None
        parts = reply.gradient.split([value.numel() for value in now])
        return tuple(part.reshape(value.shape) for part, value in zip(parts, now, strict=True))

    begin, settings = tuple(start.values()), optimizer.tries[0]
    led, _ = led_down(begin, settings, task.steps, gradients_at, optimizer.moves, "training")
    return led


@cache
def _reference_path(
    optimizer: Optimizer, trajectory: Trajectory, names: tuple[str, ...]
) -> Mapping[str, Tensor]:
    rows = zip(*optimizer.path(trajectory), strict=True)
    return {name: torch.stack(each) for name, each in zip(names, rows, strict=True)}


def first_wrong_step(run: Run, reference: Run) -> int | None:
    """Return the first step after which a parameter differs from the reference's, or None."""
    wrong: list[int] = []
    for name, right in reference.path.items():
        near = _max_abs(run.path[name] - right) <= PATH * (_max_abs(right) + 1e-3)
        wrong += map(int, (~near).nonzero()[:1])  # nan is not near
    return min(wrong, default=None)


def _max_abs(rows: Tensor) -> Tensor:
    return rows.abs().reshape(len(rows), -1).amax(1)
