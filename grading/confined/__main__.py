"""Run the warm process as ``python -m grading.confined``."""

import contextlib
import gc
import os
import sys

# What is imported stays: looking for garbage among it takes a tenth of the start.
gc.disable()

import msgspec  # noqa: E402

from grading.confined.forkserver import main  # noqa: E402

with contextlib.suppress(msgspec.DecodeError, KeyboardInterrupt):
    main(int(sys.argv[1]), int(sys.argv[2]))
# Nothing is left to do, and giving back all that torch has made takes long.
os._exit(0)
