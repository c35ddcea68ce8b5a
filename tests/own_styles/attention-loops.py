"""One query of one sample at a time, with softmax's whole Jacobian matrix."""

import math

import torch
from attention import check
from torch.autograd import Function


def weights_of(query, keys, seen):
    scores = keys.mv(query) / math.sqrt(len(query))
    if seen is not None:
        scores = torch.where(seen, scores, torch.full_like(scores, -1e9))
    scores = torch.exp(scores - scores.max())
    return scores / scores.sum()


def attend(q, k, v, allowed=None):
    o = torch.empty(q.shape[0], q.shape[1], v.shape[2], dtype=v.dtype)
    for n in range(q.shape[0]):
        for t in range(q.shape[1]):
            seen = None if allowed is None else allowed[t]
            o[n, t] = weights_of(q[n, t], k[n], seen) @ v[n]
    return o


def attend_backward(g, q, k, v, allowed=None):
    dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for n in range(q.shape[0]):
        for t in range(q.shape[1]):
            seen = None if allowed is None else allowed[t]
            p = weights_of(q[n, t], k[n], seen)
            jacobian = torch.diag(p) - torch.outer(p, p)
            d_scores = jacobian @ (v[n] @ g[n, t])
            if seen is not None:
                d_scores[~seen] = 0
            dq[n, t] = d_scores @ k[n] / math.sqrt(q.shape[2])
            dk[n] += torch.outer(d_scores, q[n, t]) / math.sqrt(q.shape[2])
            dv[n] += torch.outer(p, g[n, t])
    return dq, dk, dv


class Attention(Function):
    @staticmethod
    def forward(ctx, *qkv):
        ctx.save_for_backward(*qkv)
        return attend(*qkv)

    @staticmethod
    def backward(ctx, *g):
        return attend_backward(*g, *ctx.saved_tensors)


class MaskedAttention(Function):
    @staticmethod
    def forward(ctx, q, k, v, allowed):
        ctx.save_for_backward(q, k, v)
        ctx.allowed = allowed.clone()
        return attend(q, k, v, allowed)

    @staticmethod
    def backward(ctx, g):
        return *attend_backward(g, *ctx.saved_tensors, ctx.allowed), None


if __name__ == "__main__":
    check(Attention)
    check(MaskedAttention)
