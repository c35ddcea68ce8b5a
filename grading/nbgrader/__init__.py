"""nbgrader: its plugin, its gradebook, and the handouts that it releases.

Raises UserError where nbgrader is not installed.
"""

from importlib.util import find_spec

from harness.errors import UserError

if find_spec("nbgrader") is None:
    raise UserError(
        "nbgrader is not installed: pip install 'backprop-harness[grading]' and try again."
    )
