"""What the system refuses, in a sentence."""

from __future__ import annotations

from pathlib import Path

from harness.show.visible import visible_line


def refusal(error: OSError, where: Path | str, done: str = "read") -> str:
    """Say that ``where``, or the path that the error names, cannot be ``done``, and why."""
    path = error.filename if isinstance(error.filename, str) else str(where)
    return f"{visible_line(path)} cannot be {done}: {error.strerror or error}."
