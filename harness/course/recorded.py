"""What stands for a stage's forward in a handout whose students write it themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor

from harness.course.inputs import Sizes

if TYPE_CHECKING:
    from harness.course.stage import Upstream, Values


class NotRecorded(LookupError):
    """An answer of the reference that is not among the recorded ones."""


class Recorded(ABC):
    """The answers of a forward to the public cases, in the place of its code.

    ``sizes`` are those that the stage is tried at, ``axes`` the dimensions of its outputs. If it
    ``mixes``, an entry of the output depends on several numbers.
    """

    sizes: tuple[Sizes, ...]
    axes: tuple[tuple[str, ...] | None, ...]
    mixes: bool

    @abstractmethod
    def cases(self, purpose: str) -> Any:
        """Return what the function called ``purpose`` made of the stage for the public seed."""

    @abstractmethod
    def __call__(self, *inputs: Any) -> tuple[Tensor, ...]:
        """Return the outputs for recorded inputs. Raise NotRecorded for others."""

    @abstractmethod
    def gradients(self, inputs: Values, upstream: Upstream) -> tuple[Tensor | None, ...]:
        """Return the gradients of a recorded call. Raise NotRecorded for others."""
