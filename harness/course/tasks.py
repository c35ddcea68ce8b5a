"""The training task that a network and the data of an instructor make together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, partial

import torch
from torch import Tensor

from harness.candidate.operations import Value
from harness.course.inputs import is_real_tensor
from harness.course.network import Network
from harness.course.shapes import MISFITS, Unknown, sides_of, values_for
from harness.course.sizes import at_sizes
from harness.errors import DeclarationError
from harness.training.table import Split, Start, Training
from harness.training.task import Network as Batch
from harness.training.task import Parameters, Task

SEED = 3


def task_of(training: Training, network: Network | None) -> Task:
    """Return the task to train ``network`` with the data of ``training``.

    The data are not read before they are needed. Raise DeclarationError if there is no network, or
    it has no inputs and labels, or no prediction.
    """
    if network is None:
        training.refuse("a training needs a network: give network=")
    if len(network.arguments) < 3:
        training.refuse("the network of a training takes inputs, labels or targets, and parameters")
    if not network.prediction:
        training.refuse("the network of a training must return the cost and a prediction")
    parameters = network.arguments[2:]
    if unknown := sorted(set(training.start) - set(parameters)):
        those = ", ".join(parameters)
        training.refuse(f"{unknown[0]} is not a parameter to start; those are {those}")
    made = cache(partial(_Made, training, network))
    return Task(
        name=training.name or ("to predict" if training.regresses else "to classify"),
        parameters=lambda: made().parameters,
        network=lambda inputs, targets: made().network(inputs, targets),
        batch=lambda step: made().batch(step),
        unseen=lambda: made().unseen,
        read=_numbers if training.regresses else _classes,
        steps=training.steps,
        rate=training.rate,
        accuracy=training.at_least,
        files=training.files,
        place=training.place,
        explains=training.regresses,
    )


class _Made:
    """What a task is made of, once its data are read."""

    def __init__(self, training: Training, network: Network) -> None:
        self._training, self._network = training, network
        self._inputs, self._targets = network.arguments[:2]
        split = training.split
        fit = partial(_fitting, training, network, split)
        self._seen = fit(*split.seen)
        inputs, targets = fit(*split.unseen)
        self.unseen = inputs, targets, split.unseen[1]
        self._size = training.batch or len(self._seen[0])
        values = self._values(split)
        self.parameters: Parameters = {
            name: self._start(name, tuple(value.shape))
            for name, value in values.items()
            if name in network.arguments[2:] and isinstance(value, Tensor)
            if not network.is_constant(name)
        }
        self._others = {
            name: values[name] for name in network.arguments[2:] if name not in self.parameters
        }
        self._order = _order(len(self._seen[0]), training.steps * self._size)

    def network(self, inputs: Tensor, targets: Tensor) -> Batch:
        """Return the network for some samples."""
        network = self._network
        tensors = {self._inputs: inputs, self._targets: targets}
        tensors |= {x: each for x, each in self._others.items() if isinstance(each, Tensor)}
        given = {x: each for x, each in self._others.items() if not isinstance(each, Tensor)}
        answers = (network.prediction,)
        return Batch(network.links, tensors, network.ends, answers, {**network.given, **given})

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the samples of a step: the same object if they are always all."""
        if self._training.batch is None:
            return self._seen
        chosen = self._order[step * self._size : (step + 1) * self._size]
        inputs, targets = self._seen
        return inputs[chosen], targets[chosen]

    def _values(self, split: Split) -> dict[str, Value]:
        """Return values of the right shape for every argument."""
        network, sides = self._network, sides_of(self._network)
        known = {
            self._inputs: self._seen[0][: self._size],
            self._targets: self._seen[1][: self._size],
        }
        sizes: dict[str, int] = {}
        for name, value in known.items():
            sizes |= sides.found_in(name, value.shape)
        counted = sides.upto(self._targets)
        if counted.isidentifier() and split.classes:
            sizes[counted] = split.classes
        try:
            return values_for(
                network, sizes, lambda _, use: torch.Generator().manual_seed(SEED + use), known
            )[0]
        except Unknown as error:
            raise DeclarationError(f"{network.place}: {error}") from None
        except MISFITS as error:
            raise DeclarationError(
                f"{network.place}: the network does not run on the data{at_sizes(sizes)}: {error}"
            ) from None

    def _start(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return the value that a parameter starts with."""
        start: Start | None = self._training.start.get(name)
        if isinstance(start, int | float):
            return torch.full(shape, float(start), dtype=torch.float64)
        if start is not None:
            value = start if isinstance(start, Tensor) else start(shape)
            if tuple(value.shape) != shape:
                self._training.refuse(
                    f"the start of {name} has the shape {tuple(value.shape)}, "
                    f"and {name} has {shape}"
                )
            return value.double()
        if len(shape) < 2:
            return torch.zeros(shape, dtype=torch.float64)
        at = self._network.arguments.index(name)
        generator = torch.Generator().manual_seed(SEED * 1000 + at)
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        return values / math.sqrt(_fan_in(self._network, name, shape))


def _fan_in(network: Network, name: str, shape: tuple[int, ...]) -> int:
    """Return over how many numbers a stage sums: the axes that it shares with its input only."""
    for _, stage, own in network.roles.get(name, ())[:1]:
        others = {axis for each in stage.inputs.values() if each is not own for axis in each.axes}
        pairs = zip(own.axes, shape, strict=True)
        inner = [(axis, size) for axis, size in pairs if axis not in stage.output_dimensions]
        is_summed = any(axis in others for axis, _ in inner)
        return math.prod(size for _, size in inner) if is_summed else shape[-1]
    return shape[0]


def _fitting(
    training: Training, network: Network, split: Split, inputs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Return samples as the network takes them: labels as whole numbers, one-hot, or numbers."""
    x, y = ([role.input for role in network.roles.get(x, ())] for x in network.arguments[:2])
    if x and x[0].kind.is_real and not is_real_tensor(inputs):
        inputs = inputs.double()
    if not y or not y[0].kind.is_real:
        return inputs, labels
    if not training.regresses and len(y[0].axes) == 2:
        return inputs, torch.nn.functional.one_hot(labels, split.classes).double()
    targets = labels.double()
    if targets.dim() == 1 and len(y[0].axes) == 2:
        targets = targets[:, None]
    return inputs, targets


def _order(count: int, needed: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    epochs = -(-needed // count)
    return torch.cat([torch.randperm(count, generator=generator) for _ in range(epochs)])


def _classes(answers: Sequence[Tensor | None], count: int) -> Tensor:
    (scores,) = answers
    if scores is None or scores.is_complex() or scores.dim() not in (1, 2) or len(scores) != count:
        return torch.full((count,), -1)
    if scores.dim() == 2 and scores.shape[1] > 1:
        return scores.argmax(1)
    return (scores.reshape(count) > 0.5).long()


def _numbers(answers: Sequence[Tensor | None], count: int) -> Tensor:
    (found,) = answers
    if found is None or found.is_complex() or found.dim() == 0 or len(found) != count:
        return torch.full((count,), torch.nan, dtype=torch.float64)
    return found.double()
