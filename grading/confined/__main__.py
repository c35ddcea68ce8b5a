"""Run the warm process as ``python -m grading.confined``."""

import contextlib
import gc
import os
import sys

# Garbage collection would slow down the imports by a tenth, and what they load stays.
gc.disable()

import msgspec  # noqa: E402

from grading.confined.forkserver import main  # noqa: E402

with contextlib.suppress(msgspec.DecodeError, KeyboardInterrupt):
    main(int(sys.argv[1]), int(sys.argv[2]))
# Freeing what torch has allocated would take 0.3 s.
os._exit(0)
