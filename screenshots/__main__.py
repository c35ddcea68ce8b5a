"""Takes the pictures of README.md and docs/ anew: all, or those named on the command line."""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path

from screenshots.browser import missing
from screenshots.studio import SHOTS, studio, take

# Each holds functions that are marked with @shot.
MODULES = ("screenshots.terminal", "screenshots.notebooks", "screenshots.pages")


def main(names: list[str]) -> int:
    """Takes the pictures; the exit code."""
    for module in MODULES:
        import_module(module)
    strangers = [name for name in names if name not in SHOTS]
    if strangers:
        print(f"There is no picture {strangers[0]}; there are {', '.join(SHOTS)}.", file=sys.stderr)
        return 2
    lacking = missing()
    if lacking:
        print(
            f"{' and '.join(lacking)} not found: install chromium and chromium-driver.",
            file=sys.stderr,
        )
        return 2
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder)) as made:
        for name in names or SHOTS:
            print(take(made, name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
