"""Imported first by a process that was started `undisturbed`: Ctrl-C does nothing to it.

What comes of it is the main process's to decide. The signal is neither blocked nor ignored any
more, as students' processes would inherit that.
"""

import signal
import sys

if sys.platform != "win32":
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
