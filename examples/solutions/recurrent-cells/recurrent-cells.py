"""A right solution of *Recurrent cells*."""

import torch
from recurrent_cells import check
from torch.autograd import Function


class Embedding(Function):
    """x = the row of the table for each word."""

    @staticmethod
    def forward(ctx, words, table):
        ctx.save_for_backward(words)
        ctx.rows = len(table)
        return table[words]

    @staticmethod
    def backward(ctx, g):
        (words,) = ctx.saved_tensors
        dtable = g.new_zeros(ctx.rows, g.shape[-1])
        dtable.index_add_(0, words.flatten(), g.reshape(-1, g.shape[-1]))
        return None, dtable


class RNNStep(Function):
    """h_next = tanh(x @ w_x + h @ w_h + b)."""

    @staticmethod
    def forward(ctx, x, h, w_x, w_h, b):
        h_next = torch.tanh(x @ w_x + h @ w_h + b)
        ctx.save_for_backward(x, h, w_x, w_h, h_next)
        return h_next

    @staticmethod
    def backward(ctx, g):
        x, h, w_x, w_h, h_next = ctx.saved_tensors
        dz = g * (1 - h_next**2)
        return dz @ w_x.T, dz @ w_h.T, x.T @ dz, h.T @ dz, dz.sum(0)


class LSTMCell(Function):
    """c_next = f · c + i · u and h_next = o · tanh(c_next)."""

    @staticmethod
    def forward(ctx, x, h, c, w, b):
        xh = torch.cat([x, h], 1)
        i, f, o, u = (xh @ w.T + b).chunk(4, 1)
        i, f, o, u = i.sigmoid(), f.sigmoid(), o.sigmoid(), u.tanh()
        c_next = f * c + i * u
        ctx.save_for_backward(xh, c, w, i, f, o, u, c_next)
        ctx.width = x.shape[1]
        return o * c_next.tanh(), c_next

    @staticmethod
    def backward(ctx, g_h, g_c):
        xh, c, w, i, f, o, u, c_next = ctx.saved_tensors
        t = c_next.tanh()
        dc = g_c + g_h * o * (1 - t**2)
        di, df, do = dc * u * i * (1 - i), dc * c * f * (1 - f), g_h * t * o * (1 - o)
        dz = torch.cat([di, df, do, dc * i * (1 - u**2)], 1)
        dxh = dz @ w
        return dxh[:, : ctx.width], dxh[:, ctx.width :], dc * f, dz.T @ xh, dz.sum(0)


class GRUCell(Function):
    """h_next = (1 − z) · n + z · h, where n = tanh(n_x + r · n_h)."""

    @staticmethod
    def forward(ctx, x, h, w_x, w_h, b):
        (r_x, z_x, n_x), (r_h, z_h, n_h) = (x @ w_x + b).chunk(3, 1), (h @ w_h).chunk(3, 1)
        r, z = (r_x + r_h).sigmoid(), (z_x + z_h).sigmoid()
        n = (n_x + r * n_h).tanh()
        ctx.save_for_backward(x, h, w_x, w_h, r, z, n, n_h)
        return (1 - z) * n + z * h

    @staticmethod
    def backward(ctx, g):
        x, h, w_x, w_h, r, z, n, n_h = ctx.saved_tensors
        dn = g * (1 - z) * (1 - n**2)
        dz = g * (h - n) * z * (1 - z)
        dr = dn * n_h * r * (1 - r)
        dx_part, dh_part = torch.cat([dr, dz, dn], 1), torch.cat([dr, dz, dn * r], 1)
        dh = g * z + dh_part @ w_h.T
        return dx_part @ w_x.T, dh, x.T @ dx_part, h.T @ dh_part, dx_part.sum(0)


if __name__ == "__main__":
    check(Embedding)
    check(RNNStep)
    check(LSTMCell)
    check(GRUCell)
