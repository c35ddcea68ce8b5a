"""The forms that a student's work for a stage has, other than a class of torch's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


def slug_of(name: str) -> str:
    """Return the name of a class as it is in ids of checks: ``WeightedSum`` is ``weighted-sum``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "-", name).lower()


@dataclass(frozen=True)
class Pair:
    """How the functions of a stage are called, by name.

    ``forward(x, w, b)`` takes the ``inputs``, of which some can be in a dictionary: ``packed`` has
    its name and, by the keys in it, the names of the inputs. It returns the output and a cache, for
    ``backward(dout, cache)``, which returns the gradients of the ``needed`` inputs, or of all. A
    pair ``without_upstream`` is one function, which returns a cost and these gradients. With
    several ``outputs``, forward returns each before the cache, and backward takes an upstream for
    each. Tensors are numpy arrays ``in_numpy``.
    """

    forward: str
    backward: str
    inputs: tuple[str, ...]
    needed: tuple[str, ...]
    packed: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    without_upstream: bool = False
    in_numpy: bool = True
    outputs: int = 1

    @property
    def functions(self) -> tuple[str, ...]:
        """The names of the functions that students write."""
        return (self.forward,) if self.without_upstream else (self.forward, self.backward)

    @property
    def called(self) -> tuple[str, ...]:
        """The names of what forward is called with: some inputs, then dictionaries."""
        inside = {name for _, keys in self.packed for _, name in keys}
        plain = (name for name in self.inputs if name not in inside)
        return (*plain, *(key for key, _ in self.packed))

    def arguments(self, values: Sequence[object]) -> list[object]:
        """Return what forward is called with: the values, with some of them in dictionaries."""
        named = dict(zip(self.inputs, values, strict=True))
        packs = {name: {key: named[each] for key, each in keys} for name, keys in self.packed}
        return [(packs | named)[name] for name in self.called]
