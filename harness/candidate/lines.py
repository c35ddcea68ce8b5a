"""Which lines are a student's own: not those of Python, of its libraries, or of this project."""

import linecache
import re
import sys
import sysconfig
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy
import torch
from torch import Tensor

CODE_LIMIT = 200
MOST_NAMES, MOST_LETTERS = 40, 60
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

    Cells have the numbers that Jupyter gives them when they run. In a module beside it, that is
    ``helpers.py, line 7``.
    """
    if number := _run_number(filename):
        return f"cell {number}, line {line}"
    other = re.fullmatch(r"<(cell \d+|.+\.py)>", filename)
    return f"{other[1]}, line {line}" if other else f"line {line}"


def _run_number(filename: str) -> str:
    """Return the number of the cell with this file name in a live notebook, "" elsewhere."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    # ("Cell", "In[3]") of a cell, and None of a file.
    label = shell.compile.format_code_name(filename) if shell else None
    return "".join(filter(str.isdigit, label[1])) if label else ""


def code_at(filename: str, line: int) -> str:
    """Return the text of the line, "" if it is not known."""
    return linecache.getline(filename, line).strip()[:CODE_LIMIT]


def where(call: TracebackType) -> dict[str, Any]:
    """Return where a call raised: the fields of `Raised` from ``place`` on."""
    frame, line = call.tb_frame, call.tb_lineno
    filename = frame.f_code.co_filename
    is_function = frame.f_locals is not frame.f_globals
    names = islice(frame.f_locals.items(), MOST_NAMES if is_function else 0)
    return {
        "place": place_of(filename, line),
        "code": code_at(filename, line),
        "part": _part(call, linecache.getline(filename, line)),
        "names": tuple((str(name)[:MOST_LETTERS], _type_of(value)) for name, value in names),
    }


def _part(call: TracebackType, text: str) -> str:
    """Return what of the line was being worked out, "" if it goes on in the next one."""
    at = next(islice(call.tb_frame.f_code.co_positions(), call.tb_lasti // 2, None), None)
    if at is None or at[0] != at[1] or at[2] is None:
        return ""
    return text.encode()[at[2] : at[3]].decode(errors="replace")[:CODE_LIMIT]


def _type_of(value: object) -> str:
    # A subclass may answer for itself.
    if type(value) in (Tensor, torch.nn.Parameter):
        assert isinstance(value, Tensor)
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"[:MOST_LETTERS]
    kind = type(value).__name__[:MOST_LETTERS]
    return f"Function {kind}" if isinstance(value, torch.autograd.Function) else kind
