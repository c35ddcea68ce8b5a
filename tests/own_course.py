"""A course whose assignments are declared in its own folder, for tests."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

from tests import right

DECLARATION = """
from dataclasses import replace

from harness.many_neurons import MANY_NEURONS
from layers import title

ASSIGNMENT = replace(MANY_NEURONS, title=title())
"""
LAYERS = """
def title():
    import words  # when it is needed

    return words.TITLE
"""
RIGHT = "\n".join(
    inspect.getsource(each) for each in (right.WeightedSum, right.Sigmoid, right.SquaredError)
)
SUBMISSION = "import torch\nfrom torch.autograd import Function\n" + RIGHT


def declare(course: Path, name: str, text: str = DECLARATION, title: str = "A title") -> Path:
    """Declares an assignment in a course; returns its folder."""
    folder = course / "solutions" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "assignment.py").write_text(text, encoding="utf-8")
    (folder / "layers.py").write_text(LAYERS, encoding="utf-8")
    (folder / "words.py").write_text(f"TITLE = {title!r}\n", encoding="utf-8")
    return folder


def backprop(*arguments: object, cwd: Path, code: int = 0) -> str:
    """Runs the command in a folder, to the exit code; returns what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "grading.cli", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert "Traceback" not in said
    return said
