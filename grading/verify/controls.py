"""Controls: right submissions in odd styles, drawn by combination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from grading.verify.equivalents import ways_for
from grading.verify.styles import MANNERS, written
from harness.course.assignment import Assignment

HEAD = """import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import Function

"""

# What stands around the classes: before, and after.
FRAMES: Mapping[str, tuple[str, str]] = {
    "nothing": ("", ""),
    "prints": ("print('let us begin')\n", "print('done', «Name»)\n"),
    "seeds": ("torch.manual_seed(0)\nnp.random.seed(0)\n", ""),
    "float64 by default": ("torch.set_default_dtype(torch.float64)\n", ""),
    "all of torch": ("from torch import *\n", ""),
    "a main guard": ("", "if __name__ == '__main__':\n    print(torch.rand(3))\n"),
    "a demonstration": (
        "",
        "print([torch.rand(4, 4).sigmoid().sum().item() for _ in range(4)])\n",
    ),
    "a failing demonstration": ("", "print(«Name».apply())\n"),
    "a missing file": ("open('measurements.csv')\n", ""),
    "a missing library": ("import a_library_that_nobody_has\n", ""),
    "asserts": ("", "assert issubclass(«Name», Function)\n"),
    "names of its own": ("a, w, b, z, g = range(5)\n", "C = y = a_prev = None\n"),
    "leaves early": ("", "raise SystemExit\n"),
    "a docstring": ("'''The work of a student.'''\n", "# The end.\n"),
    "a long comment": ("# " + "x" * 500 + "\n", "\n\n\n"),
    "warnings ignored": ("import warnings\n\nwarnings.filterwarnings('ignore')\n", ""),
    "dunder all": ("", "__all__ = ['«Name»']\n"),
}


def controls_for(assignment: Assignment) -> Iterator[tuple[str, str]]:
    """What each control is, and its code, which follows on the solution.

    Every manner occurs in every stage, together with different ways and other manners.
    """
    manners, frames = list(MANNERS), list(FRAMES)
    stages = assignment.stages
    ways = {stage.name: ways_for(assignment.name, stage) for stage in stages}
    least = max(len(each) for each in ways.values())
    count = max(len(manners), least)
    stride = len(manners) // (len(stages) + 1)
    for turn in range(count):
        before, after = FRAMES[frame := frames[turn % len(frames)]]
        code, said = HEAD + before.replace("«Name»", stages[0].name), []
        code += "".join(f"Solved{stage.name} = {stage.name}\n" for stage in stages) + "\n"
        for at, stage in enumerate(stages):
            manner = manners[(turn + at * stride) % len(manners)]
            known = ways[stage.name]
            way = known[(turn + turn // len(known)) % len(known)]
            code += written(stage, way, manner) + "\n\n"
            said.append(f"{stage.name}: {way.name}, {manner}")
        yield (
            "; ".join([*said, f"around them: {frame}"]),
            code + after.replace("«Name»", stages[0].name),
        )
