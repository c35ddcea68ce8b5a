"""The checks: a module for each kind, and the plan that orders them."""

from harness.probes.context import Errored, Failed, StageContext, Waits
from harness.probes.plan import Planned, Session, plan

__all__ = ["Errored", "Failed", "Planned", "Session", "StageContext", "Waits", "plan"]
