"""Ways for a stage to be wrong, a module each. A probe's docstring is the title a student reads."""

from harness.probes.context import Bench, Errored, Failed, Waits
from harness.probes.plan import Planned, plan

__all__ = ["Bench", "Errored", "Failed", "Planned", "Waits", "plan"]
