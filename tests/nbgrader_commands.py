"""Runs nbgrader's commands, each in a fork of a process that has loaded nbgrader already.

Loading takes seconds, a command less than one. Reads orders from standard input, a JSON object on a
line with ``arguments``, ``folder`` and ``output``; answers each with its exit status.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from nbgrader.apps.nbgraderapp import NbGraderApp


def next_order() -> dict[str, Any] | None:
    """In a fork, the order to carry out; None in the process that forks, when no more come."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            order: dict[str, Any] = json.loads(line)
            return order
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def carry_out(order: dict[str, Any]) -> None:
    """Becomes the command: its folder, its output, its arguments, its end."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(order["folder"])
    sys.argv = ["nbgrader", *order["arguments"]]
    NbGraderApp.launch_instance()


if __name__ == "__main__":
    found = next_order()
    if found is not None:
        carry_out(found)
