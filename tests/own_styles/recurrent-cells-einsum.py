"""Every product is an einsum; gates and their derivatives are helper functions."""

from typing import NamedTuple

import torch
from recurrent_cells import check
from torch import Tensor, einsum
from torch.autograd import Function


class Gates(NamedTuple):
    input: Tensor
    forget: Tensor
    output: Tensor
    candidate: Tensor


def d_sigmoid(value):
    return value * (1 - value)


def d_tanh(value):
    return 1 - value * value


class Embedding(Function):
    @staticmethod
    def forward(ctx, words, table):
        ctx.picked = torch.nn.functional.one_hot(words, table.shape[0]).to(table.dtype)
        return einsum("ntv,vd->ntd", ctx.picked, table)

    @staticmethod
    def backward(ctx, g):
        return None, einsum("ntv,ntd->vd", ctx.picked, g)


class RNNStep(Function):
    @staticmethod
    def forward(ctx, x, h, w_x, w_h, b):
        both, weights = torch.cat([x, h], 1), torch.cat([w_x, w_h], 0)
        h_next = torch.tanh(einsum("nd,dh->nh", both, weights) + b)
        ctx.save_for_backward(both, weights, h_next)
        ctx.widths = x.shape[1], h.shape[1]
        return h_next

    @staticmethod
    def backward(ctx, g):
        both, weights, h_next = ctx.saved_tensors
        dz = g * d_tanh(h_next)
        dx, dh = einsum("nh,dh->nd", dz, weights).split(ctx.widths, 1)
        dw_x, dw_h = einsum("nd,nh->dh", both, dz).split(ctx.widths, 0)
        return dx, dh, dw_x, dw_h, einsum("nh->h", dz)


class LSTMCell(Function):
    @staticmethod
    def forward(ctx, x, h, c, w, b):
        width = x.shape[1]
        z = einsum("nd,kd->nk", x, w[:, :width]) + einsum("nd,kd->nk", h, w[:, width:]) + b
        i, f, o, u = z.reshape(len(x), 4, -1).unbind(1)
        gates = Gates(torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o), torch.tanh(u))
        c_next = gates.forget * c + gates.input * gates.candidate
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, h, c, w, torch.tanh(c_next), *gates)
        return gates.output * torch.tanh(c_next), c_next

    @staticmethod
    def backward(ctx, g_h, g_c):
        x, h, c, w, t, *gates = ctx.saved_tensors
        gates, width = Gates(*gates), x.shape[1]
        g_h = torch.zeros_like(c) if g_h is None else g_h
        dc = g_h * gates.output * d_tanh(t)
        if g_c is not None:
            dc = dc + g_c
        parts = Gates(
            dc * gates.candidate * d_sigmoid(gates.input),
            dc * c * d_sigmoid(gates.forget),
            g_h * t * d_sigmoid(gates.output),
            dc * gates.input * d_tanh(gates.candidate),
        )
        dz = torch.stack(parts, 1).flatten(1)
        dx = einsum("nk,kd->nd", dz, w[:, :width])
        dh = einsum("nk,kd->nd", dz, w[:, width:])
        dw = torch.cat([einsum("nk,nd->kd", dz, x), einsum("nk,nd->kd", dz, h)], 1)
        return dx, dh, dc * gates.forget, dw, einsum("nk->k", dz)


class GRUCell(Function):
    @staticmethod
    def forward(ctx, x, h, w_x, w_h, b):
        ctx.save_for_backward(x, h, w_x, w_h, b)
        _, z, n, _ = GRUCell.gates(x, h, w_x, w_h, b)
        return n + z * (h - n)

    @staticmethod
    def gates(x, h, w_x, w_h, b):
        size = h.shape[1]
        from_x, from_h = einsum("nd,dk->nk", x, w_x) + b, einsum("nd,dk->nk", h, w_h)
        r = torch.sigmoid(from_x[:, :size] + from_h[:, :size])
        z = torch.sigmoid(from_x[:, size : 2 * size] + from_h[:, size : 2 * size])
        n_h = from_h[:, 2 * size :]
        return r, z, torch.tanh(from_x[:, 2 * size :] + r * n_h), n_h

    @staticmethod
    def backward(ctx, g):
        x, h, w_x, w_h, b = ctx.saved_tensors
        r, z, n, n_h = GRUCell.gates(x, h, w_x, w_h, b)  # computed again, rather than kept
        size = h.shape[1]
        dn = g * (1 - z) * d_tanh(n)
        d_x = g.new_empty(len(x), 3 * size)
        d_x[:, :size] = dn * n_h * d_sigmoid(r)
        d_x[:, size : 2 * size] = g * (h - n) * d_sigmoid(z)
        d_x[:, 2 * size :] = dn
        d_h = d_x.clone()
        d_h[:, 2 * size :] *= r
        dx, dh = einsum("nk,dk->nd", d_x, w_x), einsum("nk,dk->nd", d_h, w_h) + g * z
        return dx, dh, einsum("nd,nk->dk", x, d_x), einsum("nd,nk->dk", h, d_h), d_x.sum(0)


if __name__ == "__main__":
    check(Embedding)
    check(RNNStep)
    check(LSTMCell)
    check(GRUCell)
