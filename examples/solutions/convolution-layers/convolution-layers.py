"""A right solution of *Convolution and pooling*."""

import torch
import torch.nn.functional as F
from convolution_layers import check
from torch.autograd import Function


class Conv1d(Function):
    """z[n, f, t] = Σ over c, r of x[n, c, stride · t + r] w[f, c, r], + b[f]."""

    @staticmethod
    def forward(ctx, x, w, b, stride):
        ctx.save_for_backward(x, w)
        ctx.stride = stride
        windows = x.unfold(2, w.shape[2], stride)
        return torch.einsum("nctr,fcr->nft", windows, w) + b[:, None]

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        dw = torch.einsum("nft,nctr->fcr", g, x.unfold(2, w.shape[2], ctx.stride))
        dx = torch.zeros_like(x)
        for t in range(g.shape[2]):
            start = ctx.stride * t
            dx[:, :, start : start + w.shape[2]] += torch.einsum("nf,fcr->ncr", g[:, :, t], w)
        return dx, dw, g.sum((0, 2)), None


class Conv2d(Function):
    """The same in two dimensions, with zeros around x."""

    @staticmethod
    def forward(ctx, x, w, b, stride, padding):
        ctx.save_for_backward(x, w)
        ctx.stride, ctx.padding, ctx.has_bias = stride, padding, b is not None
        windows = _windows(F.pad(x, (padding,) * 4), w.shape[2], w.shape[3], stride)
        z = torch.einsum("nchwrs,fcrs->nfhw", windows, w)
        return z if b is None else z + b[:, None, None]

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        padded = F.pad(x, (ctx.padding,) * 4)
        rows, columns = w.shape[2:]
        dw = torch.einsum("nfhw,nchwrs->fcrs", g, _windows(padded, rows, columns, ctx.stride))
        d_padded = torch.zeros_like(padded)
        for i, j, place in _places(rows, columns, ctx.stride, g):
            d_padded[place] += torch.einsum("nfhw,fc->nchw", g, w[:, :, i, j])
        end_h, end_w = ctx.padding + x.shape[2], ctx.padding + x.shape[3]
        dx = d_padded[:, :, ctx.padding : end_h, ctx.padding : end_w]
        return dx, dw, g.sum((0, 2, 3)) if ctx.has_bias else None, None, None


class MaxPool2d(Function):
    """z = the largest entry of each window."""

    @staticmethod
    def forward(ctx, x, size, stride):
        z, at = _windows(x, size, size, stride).flatten(4).max(4)
        ctx.save_for_backward(x, at)
        ctx.size, ctx.stride = size, stride
        return z

    @staticmethod
    def backward(ctx, g):
        x, at = ctx.saved_tensors
        dx = torch.zeros_like(x)
        for i, j, place in _places(ctx.size, ctx.size, ctx.stride, g):
            dx[place] += g * (at == i * ctx.size + j)
        return dx, None, None


class AvgPool2d(Function):
    """z = the average of each window; windows do not overlap."""

    @staticmethod
    def forward(ctx, x, size):
        ctx.shape, ctx.size = x.shape, size
        return _windows(x, size, size, size).mean((4, 5))

    @staticmethod
    def backward(ctx, g):
        dx = g.new_zeros(ctx.shape)
        for _, _, place in _places(ctx.size, ctx.size, ctx.size, g):
            dx[place] = g / ctx.size**2
        return dx, None


def _windows(x, rows, columns, stride):
    """Return all windows of x: (N, C, out_h, out_w, rows, columns)."""
    return x.unfold(2, rows, stride).unfold(3, columns, stride)


def _places(rows, columns, stride, g):
    """Yield each place in a window, and where it lies in the image for all windows at once."""
    height, width = g.shape[2:]
    for i in range(rows):
        for j in range(columns):
            down = slice(i, i + stride * (height - 1) + 1, stride)
            yield i, j, (..., down, slice(j, j + stride * (width - 1) + 1, stride))


if __name__ == "__main__":
    check(Conv1d)
    check(Conv2d)
    check(MaxPool2d)
    check(AvgPool2d)
