"""What all tests share."""

from __future__ import annotations

from hypothesis import settings

# Speed is measured in benchmarks/; the first call into torch takes long on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
