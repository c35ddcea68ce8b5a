"""A mistake that teachers know: what students write, and a question that leads them on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class Mistake:
    """One mistake in one stage, by a short name that stays the same.

    ``gradients`` gives the wrong torch expression for each gradient concerned, over the names that
    ``Stage.gradients`` may use ("None" for a gradient that is not returned); the others are right.
    ``hint`` is for a student: it leads on without giving the answer. ``forward`` is a wrong
    expression over the inputs, ``N`` and ``K``; the output's name then stands for what it gives.
    ``code`` says what no expression can: the body of a class derived from ``Right``, whose
    backward returns the right gradients as a tuple.

    ``rejected_by`` names the checks that must fail: "training" and checks of the stage ("purity",
    "gradient/*" for each gradient; "*" where any of them will do). Left out, they are those of
    the forward and the gradients given.
    """

    name: str
    gradients: Mapping[str, str] = field(default_factory=dict)
    hint: str = field(kw_only=True)
    forward: str | None = field(default=None, kw_only=True)
    code: str = field(default="", kw_only=True)
    rejected_by: tuple[str, ...] = field(default=(), kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "gradients", MappingProxyType(dict(self.gradients)))
        if not self.rejected_by:
            forward = ("forward",) if self.forward else ()
            gradients = tuple(f"gradient/{name}" for name in self.gradients)
            object.__setattr__(self, "rejected_by", forward + gradients)
        if not self.rejected_by:
            raise ValueError(f"the mistake {self.name} does not say which check rejects it")
