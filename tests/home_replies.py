"""A submission without any mathematics: it replays the replies of right classes, recorded at home.

Whoever knows the seed knows every input that the judge will ask about.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch.autograd import Function

from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment
from harness.judging.judge import judge
from tests.right import ONE

WRITTEN = """
import base64
import hashlib
import json
import zlib

import torch
from torch.autograd import Function

TABLE = json.loads(zlib.decompress(base64.b85decode("@TABLE@")))


def key(*values):
    shown = repr([(str(value.dtype), value.detach().tolist()) for value in values])
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def looked_up(*words):
    values = TABLE["/".join(words)]
    made = [v if v is None else torch.tensor(v[1], dtype=getattr(torch, v[0])) for v in values]
    return made[0] if len(made) == 1 else tuple(made)


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w, b)
        return looked_up("WeightedSum", key(a_prev, w, b))

    @staticmethod
    def backward(ctx, g):
        return looked_up("WeightedSum", key(*ctx.saved_tensors), key(g))


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return looked_up("Sigmoid", key(z))

    @staticmethod
    def backward(ctx, g):
        return looked_up("Sigmoid", key(*ctx.saved_tensors), key(g))


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return looked_up("SquaredError", key(a, y))

    @staticmethod
    def backward(ctx, g):
        return looked_up("SquaredError", key(*ctx.saved_tensors), key(g))
"""


def _key(*values: torch.Tensor) -> str:
    shown = repr([(str(value.dtype), value.detach().tolist()) for value in values])
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def _plain(value: torch.Tensor | None) -> tuple[str, Any] | None:
    if value is None:
        return None
    return str(value.dtype).removeprefix("torch."), value.detach().tolist()


def _recording(name: str, right: Any, table: dict[str, list[Any]]) -> type:
    """The right class, which keeps what it was asked and what it answered."""

    def forward(ctx: Any, *inputs: torch.Tensor) -> Any:
        ctx.asked = _key(*inputs)
        output = right.forward(ctx, *inputs)
        table[f"{name}/{ctx.asked}"] = [_plain(output)]
        return output

    def backward(ctx: Any, g: torch.Tensor) -> Any:
        returned = right.backward(ctx, g)
        several = returned if isinstance(returned, tuple) else (returned,)
        table[f"{name}/{ctx.asked}/{_key(g)}"] = list(map(_plain, several))
        return returned

    methods: dict[str, Callable[..., Any]] = {"forward": forward, "backward": backward}
    return type(name, (Function,), {key: staticmethod(each) for key, each in methods.items()})


def replaying(seed: int) -> str:
    """The source of a submission to one-neuron that answers what is asked under ``seed``."""
    table: dict[str, list[Any]] = {}
    classes = {name: _recording(name, right, table) for name, right in ONE.items()}
    assert judge(load_assignment("one-neuron"), Workbench(classes), seed=seed).report.passed
    packed = base64.b85encode(zlib.compress(json.dumps(table).encode(), 9)).decode()
    return WRITTEN.replace("@TABLE@", packed)
