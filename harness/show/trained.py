"""The results of a training: costs, accuracy, samples, sensitivities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.drawing.costs import costs_picture
from harness.drawing.heat import heat_picture
from harness.drawing.samples import Sample, samples_picture
from harness.drawing.sensitivity import sensitivity_picture
from harness.drawing.svg import Picture
from harness.language import tr

if TYPE_CHECKING:
    from harness.training.task import Run, Task

FELT = tr("How much the cost feels each parameter, at step 1")


def training_lines(run: Run, reference: Run | None) -> Iterator[str]:
    """Yield the results of a training as sentences."""
    yield accuracy_line(run, reference)
    if run.costs:
        went = "fell" if run.costs[-1] < run.costs[0] else "went"
        first, last = run.costs[0], run.costs[-1]
        yield tr("The cost {went} from {first:.3g} to {last:.3g} in {costs} steps.").format(
            went=went, first=first, last=last, costs=len(run.costs)
        )


def accuracy_line(run: Run, reference: Run | None) -> str:
    """Return how many of the unseen samples the network gets right, beside the reference's."""
    if run.accuracy is None:
        return tr("The training stopped after {costs} steps.").format(costs=len(run.costs))
    verb, of = "gets", tr("of the unseen samples right")
    if run.explains:
        verb, of = "explains", tr("of the variance of unseen samples")
    mine = tr("Your network {verb} {percent} {of}").format(
        verb=verb, percent=_percent(run.accuracy), of=of
    )
    if reference is None or reference.accuracy is None:
        return f"{mine}."
    return tr("{mine}; trained with torch's own gradients, it {verb} {percent}.").format(
        mine=mine, verb=verb, percent=_percent(reference.accuracy)
    )


def training_pictures(task: Task, run: Run, reference: Run | None) -> Iterator[Picture]:
    """Yield the costs, some samples with the network's answers, and sensitivities at step 1."""
    yield costs_picture(run.costs, reference.costs if reference else ())
    if task.image and run.read is not None:
        inputs, _, labels = task.unseen()
        seen = zip(inputs.tolist(), run.read.tolist(), labels.tolist(), strict=True)
        samples = [Sample(tuple(image), said, label) for image, said, label in seen]
        yield samples_picture(samples, task.image)
    if felt := felt_picture(task, run):
        yield felt


def felt_picture(task: Task, run: Run) -> Picture | None:
    """Draw ∂C/∂parameter at step 1, as bars for single numbers and as maps for matrices."""
    if run.accuracy is None:
        return None
    start = task.parameters()
    # One step of gradient descent is the rate times the gradient.
    felt = {name: (value - run.path[name][0]) / task.rate for name, value in start.items()}
    if not all(bool(value.isfinite().all()) for value in felt.values()):
        return None
    if all(value.dim() == 0 for value in felt.values()):
        return sensitivity_picture({name: float(value) for name, value in felt.items()}, FELT)
    ordered = sorted(felt.items(), key=lambda pair: -pair[1].dim())
    matrices = {
        name: value.reshape(-1, value.shape[-1] if value.dim() else 1).tolist()
        for name, value in ordered
    }
    return heat_picture(matrices, FELT, tiles=task.image)


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")
