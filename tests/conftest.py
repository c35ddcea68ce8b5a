"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# Tests run side by side: threads of torch's own, in them and in what they start, would fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Speed is measured in benchmarks/; the first call into torch takes long on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
