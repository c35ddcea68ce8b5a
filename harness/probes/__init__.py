"""The checks of a stage, a module for each kind. A probe's docstring is the title students read."""

from harness.probes.context import Errored, Failed, StageContext, Waits
from harness.probes.plan import Planned, Session, plan

__all__ = ["Errored", "Failed", "Planned", "Session", "StageContext", "Waits", "plan"]
