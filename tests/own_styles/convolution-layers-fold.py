"""Convolutions as one matrix product (im2col and col2im), pooling by loops."""

import torch
import torch.nn.functional as F
from convolution_layers import check
from torch.autograd import Function


def convolve(x, w, stride, padding):
    columns = F.unfold(x, w.shape[2:], stride=stride, padding=padding)  # (N, C R S, places)
    return columns, w.flatten(1) @ columns


def convolve_backward(g, columns, w, size, stride, padding):
    g = g.flatten(2)
    dw = (g @ columns.transpose(1, 2)).sum(0).reshape(w.shape)
    d_columns = w.flatten(1).t() @ g
    return F.fold(d_columns, size, w.shape[2:], stride=stride, padding=padding), dw


class Conv1d(Function):
    @staticmethod
    def forward(ctx, x, w, b, stride):
        columns, z = convolve(x.unsqueeze(2), w.unsqueeze(2), (1, stride), 0)
        ctx.save_for_backward(columns, w)
        ctx.length, ctx.stride = x.shape[2], stride
        return z + b.reshape(1, -1, 1)

    @staticmethod
    def backward(ctx, g):
        columns, w = ctx.saved_tensors
        size, steps = (1, ctx.length), (1, ctx.stride)
        dx, dw = convolve_backward(g, columns, w.unsqueeze(2), size, steps, 0)
        return dx.squeeze(2), dw.squeeze(2), g.sum(2).sum(0), None


class Conv2d(Function):
    @staticmethod
    def forward(ctx, x, w, b, stride, padding):
        columns, z = convolve(x, w, stride, padding)
        ctx.save_for_backward(columns, w)
        ctx.size, ctx.how, ctx.biased = x.shape[2:], (stride, padding), b is not None
        high = (x.shape[2] + 2 * padding - w.shape[2]) // stride + 1
        z = z.reshape(*z.shape[:2], high, -1)
        return z if b is None else z + b.reshape(1, -1, 1, 1)

    @staticmethod
    def backward(ctx, g):
        columns, w = ctx.saved_tensors
        dx, dw = convolve_backward(g, columns, w, ctx.size, *ctx.how)
        db = g.flatten(2).sum(2).sum(0) if ctx.biased else None
        return dx, dw, db, None, None


class MaxPool2d(Function):
    """Entries that tie share the gradient of their window equally."""

    @staticmethod
    def forward(ctx, x, size, stride):
        z = F.max_pool2d(x, size, stride)
        ctx.save_for_backward(x, z)
        ctx.size, ctx.stride = size, stride
        return z

    @staticmethod
    def backward(ctx, g):
        x, z = ctx.saved_tensors
        dx = torch.zeros_like(x)
        for i in range(z.shape[2]):
            for j in range(z.shape[3]):
                top, left = i * ctx.stride, j * ctx.stride
                place = (..., slice(top, top + ctx.size), slice(left, left + ctx.size))
                best = x[place] == z[:, :, i, j, None, None]
                dx[place] += g[:, :, i, j, None, None] * best / best.sum((2, 3), keepdim=True)
        return dx, None, None


class AvgPool2d(Function):
    @staticmethod
    def forward(ctx, x, size):
        high, wide = x.shape[2] // size, x.shape[3] // size
        ctx.shape, ctx.size = x.shape, size
        tiles = x[:, :, : high * size, : wide * size]
        return tiles.reshape(*x.shape[:2], high, size, wide, size).mean((3, 5))

    @staticmethod
    def backward(ctx, g):
        dx = torch.zeros(ctx.shape, dtype=g.dtype)
        for i in range(g.shape[2] * ctx.size):
            for j in range(g.shape[3] * ctx.size):
                dx[:, :, i, j] = g[:, :, i // ctx.size, j // ctx.size] / ctx.size**2
        return dx, None


if __name__ == "__main__":
    check(Conv1d)
    check(Conv2d)
    check(MaxPool2d)
    check(AvgPool2d)
