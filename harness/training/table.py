"""The data of a training of an instructor's own: a CSV or npz file, or a function."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from harness.errors import DeclarationError

LEAST = 8
Source = str | Path | Callable[[], tuple[Any, Any]]
Start = float | Tensor | Callable[[tuple[int, ...]], Tensor]


@dataclass(frozen=True)
class Split:
    """Inputs and labels, or targets, to train with, and unseen ones."""

    seen: tuple[Tensor, Tensor]
    unseen: tuple[Tensor, Tensor]
    classes: int


@dataclass(frozen=True, eq=False)
class Training:
    """A training that an instructor declares: its data, how it goes, and what it has to reach.

    ``place`` is the file and line of the declaration, whose folder the data are in.
    """

    source: Source
    folder: Path
    place: str
    steps: int
    rate: float
    at_least: float
    batch: int | None = None
    label: str = ""
    unseen: float = 0.25
    standardise: bool = True
    start: Mapping[str, Start] = field(default_factory=dict)
    regresses: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        path = self.path
        if path and not path.is_file():
            self.refuse(f"there is no file {path.name} beside it")
        if path and path.suffix not in (".csv", ".npz"):
            self.refuse(f"{path.name} is neither a .csv nor a .npz file")
        if self.steps < 1 or self.rate <= 0:
            self.refuse("steps and rate must be positive")
        if not 0 < self.at_least <= 1:
            self.refuse(f"at_least = {self.at_least}; it is a share, such as 0.85")
        if not 0 < self.unseen < 1:
            self.refuse(f"unseen = {self.unseen}; it is a share of the samples, such as 0.25")

    @property
    def path(self) -> Path | None:
        """The file that the data are in, None if a function returns them."""
        return None if callable(self.source) else self.folder / self.source

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that the training reads."""
        return (self.path,) if self.path else ()

    def refuse(self, said: str) -> NoReturn:
        """Raise DeclarationError with the place of the declaration."""
        raise DeclarationError(f"{self.place}: {said}")

    @cached_property
    def split(self) -> Split:
        """The data, always split and standardised alike.

        Raise DeclarationError if they cannot be used.
        """
        try:
            inputs, labels = map(torch.as_tensor, self._arrays())
        except DeclarationError:
            raise
        except Exception as error:
            self.refuse(f"{self._named} cannot be read: {type(error).__name__}: {error}")
        self._examine(inputs, labels)
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
        inputs, labels = inputs[order], labels[order]
        count = max(1, round(len(inputs) * self.unseen))
        if self.standardise and inputs.is_floating_point():
            inputs = _standardised(inputs.double(), count)
        classes = 0
        if self.regresses:
            labels = _standardised(labels.double(), count)
        else:
            labels = labels.long()
            classes = int(labels.max()) + 1
        seen, unseen = (inputs[count:], labels[count:]), (inputs[:count], labels[:count])
        if self.batch is not None and not 1 <= self.batch <= len(seen[0]):
            self.refuse(f"batch = {self.batch}; there are {len(seen[0])} samples to train with")
        return Split(seen, unseen, classes)

    @property
    def _named(self) -> str:
        return self.path.name if self.path else getattr(self.source, "__name__", "the function")

    def _arrays(self) -> tuple[Any, Any]:
        if callable(self.source):
            found: Any = self.source()
            if not isinstance(found, tuple) or len(found) != 2:
                self.refuse(f"{self._named} must return (x, y)")
            return found
        path = self.folder / self.source
        return self._npz(path) if path.suffix == ".npz" else self._csv(path)

    def _npz(self, path: Path) -> tuple[Any, Any]:
        with np.load(path, allow_pickle=False) as arrays:
            if missing := [name for name in ("x", "y") if name not in arrays]:
                self.refuse(f"{path.name} has no array {missing[0]}; it has {', '.join(arrays)}")
            return arrays["x"], arrays["y"]

    def _csv(self, path: Path) -> tuple[Any, Any]:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [*filter(None, csv.reader(file))] or [[""]]
        label = self.label or header[-1]
        if label not in header or len(header) < 2:
            self.refuse(f"{path.name} has no column {label!r}; it has {', '.join(header)}")
        table = np.empty((len(rows), len(header)))
        for at, row in enumerate(rows):
            if len(row) != len(header):
                self.refuse(
                    f"row {at + 2} of {path.name} has {len(row)} cells, and the first has "
                    f"{len(header)}"
                )
            for place, cell in enumerate(row):
                try:
                    table[at, place] = float(cell)
                except ValueError:
                    self.refuse(
                        f"row {at + 2} of {path.name}, column {header[place]!r}: {cell!r} is not a "
                        "number"
                    )
        place = header.index(label)
        return np.delete(table, place, axis=1), table[:, place]

    def _examine(self, inputs: Tensor, labels: Tensor) -> None:
        """Raise DeclarationError unless a network can be trained with the data."""
        if inputs.dim() < 1 or len(inputs) != len(labels):
            self.refuse(f"{self._named} has {len(inputs)} samples x and {len(labels)} labels y")
        if len(inputs) < LEAST:
            self.refuse(f"{self._named} has {len(inputs)} samples; {LEAST} are the least")
        for name, values in (("x", inputs), ("y", labels)):
            if values.is_floating_point() and not bool(values.isfinite().all()):
                self.refuse(f"{name} of {self._named} has a value that is not finite")
        if self.regresses:
            return
        whole = labels.dim() == 1 and bool((labels.double() == labels.double().round()).all())
        found = sorted({*labels.flatten().tolist()}) if whole else []
        if not whole or found != [*range(len(found))]:
            shown = ", ".join(f"{each:g}" for each in found[:6]) or "no whole numbers"
            self.refuse(f"the labels of {self._named} must be 0, 1, 2 …; they are {shown}")


def _standardised(values: Tensor, unseen: int) -> Tensor:
    """Return the values with the mean 0 and the standard deviation 1 of those that are seen."""
    seen = values[unseen:]
    deviation = seen.std(0, correction=0)
    return (values - seen.mean(0)) / torch.where(deviation > 0, deviation, 1.0)
