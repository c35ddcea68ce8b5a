"""Results are filled in place, piece by piece, into tensors that were made for them."""

import torch
from combining_tensors import check
from torch.autograd import Function


class Concat(Function):
    @staticmethod
    def forward(ctx, axis, *tensors):
        ctx.axis = axis
        ctx.needed = [tensor.requires_grad for tensor in tensors]
        ctx.shapes = [tensor.shape for tensor in tensors]
        return torch.concatenate(tensors, dim=axis)

    @staticmethod
    def backward(ctx, g):
        grads, start = [None], 0
        for shape, needed in zip(ctx.shapes, ctx.needed, strict=True):
            part = g.narrow(ctx.axis, start, shape[ctx.axis])
            grads.append(torch.zeros(shape, dtype=g.dtype).copy_(part) if needed else None)
            start += shape[ctx.axis]
        return tuple(grads)


class Bilinear(Function):
    @staticmethod
    def forward(ctx, x, y, w):
        ctx.save_for_backward(x, y, w)
        s = x.new_empty(len(x), len(w))
        for k in range(len(w)):
            s[:, k] = ((x @ w[k]) * y).sum(1)
        return s

    @staticmethod
    def backward(ctx, g):
        x, y, w = ctx.saved_tensors
        dx, dy, dw = torch.zeros_like(x), torch.zeros_like(y), torch.zeros_like(w)
        for k in range(len(w)):
            up = g[:, k : k + 1]
            dx.addcmul_(up, y @ w[k].t())
            dy.addcmul_(up, x @ w[k])
            dw[k].addmm_((up * x).t(), y)
        return dx, dy, dw


class Maxout(Function):
    @staticmethod
    def forward(ctx, x, w, b):
        z = torch.baddbmm(b[:, None, :], x.expand(len(w), *x.shape), w)
        last = len(w) - 1 - z.flip(0).argmax(0)  # of pieces that tie
        ctx.save_for_backward(x, w, last)
        return z.max(0).values

    @staticmethod
    def backward(ctx, g):
        x, w, winner = ctx.saved_tensors
        dx, dw, db = torch.zeros_like(x), torch.zeros_like(w), g.new_zeros(len(w), g.shape[1])
        for piece in range(len(w)):
            up = g.masked_fill(winner != piece, 0)
            dx += up @ w[piece].t()
            dw[piece] = x.t() @ up
            db[piece] = up.sum(0)
        return dx, dw, db


if __name__ == "__main__":
    check(Concat)
    check(Bilinear)
    check(Maxout)
