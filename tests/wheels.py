"""The package as users have it: built into a wheel, and installed from it, never editable."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.users import PROJECT


def run(*arguments, cwd=None, path=""):
    """Run Python with arguments, and return what it printed; fail with all of it."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(path)},
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def build(folder: Path) -> Path:
    """Build the wheel into an empty folder, and return its path."""
    # --no-index: hatchling comes from the environment, or the build fails.
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder]
    run("-m", "pip", "wheel", *options, PROJECT)
    (built,) = folder.iterdir()
    return built


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel into an environment of its own, and return that one's Python.

    What the package needs comes from the environment of the tests, without what is editable there.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run("-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Python does not look for further .pth files in folders that are named in one.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python
