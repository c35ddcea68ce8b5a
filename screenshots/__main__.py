"""Retake the screenshots of README.md and docs/: all, or those named on the command line."""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path

from screenshots.browser import missing
from screenshots.studio import SHOTS, studio, take

# Their functions are marked with @shot.
MODULES = ("screenshots.terminal", "screenshots.notebooks", "screenshots.pages")


def main(names: list[str]) -> int:
    """Take the screenshots and return the exit code."""
    for module in MODULES:
        import_module(module)
    unknown = [name for name in names if name not in SHOTS]
    if unknown:
        print(f"Unknown screenshot {unknown[0]}; choose from {', '.join(SHOTS)}.", file=sys.stderr)
        return 2
    absent = missing()
    if absent:
        print(
            f"{' and '.join(absent)} not found. Install chromium and chromium-driver.",
            file=sys.stderr,
        )
        return 2
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder)) as made:
        for name in names or SHOTS:
            print(take(made, name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
