"""Ways for a stage to be wrong, a module each. A probe's docstring is the title a student reads."""

from harness.probes.battery import Planned, plan
from harness.probes.bench import Bench, Errored, Failed, Waits

__all__ = ["Bench", "Errored", "Failed", "Planned", "Waits", "plan"]
