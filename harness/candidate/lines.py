"""Which lines are a student's own: not those of Python, of its libraries, or of this project."""

import linecache
import re
import sysconfig
from pathlib import Path

import numpy
import torch

CODE_LIMIT = 200
_ROOMS = (
    *(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib")),
    # Also the packages installed next to torch and numpy, wherever those are.
    *(str(Path(place).parents[1]) for place in (torch.__file__, numpy.__file__)),
    *(str(Path(__file__).parents[2] / package) for package in ("harness", "grading")),
)
# As written, and with links resolved.
_OTHERS = (*_ROOMS, *(str(Path(room).resolve()) for room in _ROOMS), "<frozen")


def is_students(filename: str) -> bool:
    """Return whether code with this file name is the student's."""
    return not filename.startswith(_OTHERS)


def place_of(filename: str, line: int) -> str:
    """Return a line as students read it: ``line 12``, ``cell 3, line 2`` of a notebook.

    In a module beside it, that is ``helpers.py, line 7``.
    """
    other = re.fullmatch(r"<(cell \d+|.+\.py)>", filename)
    return f"{other[1]}, line {line}" if other else f"line {line}"


def code_at(filename: str, line: int) -> str:
    """Return the text of the line, "" if it is not known."""
    return linecache.getline(filename, line).strip()[:CODE_LIMIT]
