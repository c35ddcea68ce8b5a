"""Wrong backwards of a stage, and the inputs and upstreams with which students expose them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.course.stage import Mistake, Stage

# The cases that count, by default, and the numbers in each.
CASES, NUMBERS = 5, 500


@dataclass(frozen=True, eq=False)
class Detective:
    """A function that returns cases of a stage, and the wrong backwards that they have to expose.

    `harness.declare.detective` declares it. In a handout each of the ``hidden`` ones is None.
    """

    name: str
    stage: Stage
    shown: tuple[Mistake, ...]
    hidden: tuple[Mistake | None, ...]
    right: tuple[Mapping[str, str], ...] = ()
    cases: int = CASES
    place: str = ""

    @property
    def slug(self) -> str:
        """The name in ids of checks: ``relu_cases`` is ``relu-cases``."""
        return re.sub(r"_+", "-", self.name).strip("-").lower()

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of what is in a case: inputs and upstreams."""
        return (*self.stage.inputs, *self.stage.upstreams)
