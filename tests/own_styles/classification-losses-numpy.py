"""All of the arithmetic in numpy."""

import numpy as np
import torch
from classification_losses import check
from torch.autograd import Function


def array(tensor):
    return tensor.detach().cpu().numpy()


def like(values, tensor):
    return torch.as_tensor(np.asarray(values), dtype=tensor.dtype)


class LogSoftmax(Function):
    @staticmethod
    def forward(ctx, s):
        values = array(s)
        shifted = values - values.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        ctx.log_p = log_p
        return like(log_p, s)

    @staticmethod
    def backward(ctx, g):
        up = array(g)
        return like(up - np.exp(ctx.log_p) * up.sum(axis=1, keepdims=True), g)


class NLL(Function):
    @staticmethod
    def forward(ctx, l, y):  # noqa: E741
        ctx.shape, ctx.labels = tuple(l.shape), array(y)
        return like(-array(l)[np.arange(len(y)), ctx.labels].mean(), l)

    @staticmethod
    def backward(ctx, g):
        dl = np.zeros(ctx.shape)
        np.add.at(dl, (np.arange(ctx.shape[0]), ctx.labels), -1 / ctx.shape[0])
        return like(dl * float(g), g), None


class Hinge(Function):
    @staticmethod
    def forward(ctx, s, y, margin):
        scores, labels = array(s), array(y)
        ctx.ds = np.zeros(scores.shape)
        cost = 0.0
        for n, label in enumerate(labels):
            for k in range(scores.shape[1]):
                loss = scores[n, k] - scores[n, label] + margin
                if k != label and loss > 0:
                    cost += loss
                    ctx.ds[n, k] += 1 / len(labels)
                    ctx.ds[n, label] -= 1 / len(labels)
        return like(cost / len(labels), s)

    @staticmethod
    def backward(ctx, g):
        return like(ctx.ds * float(g), g), None, None


class BCEWithLogits(Function):
    @staticmethod
    def forward(ctx, z, y):
        ctx.z, ctx.y = array(z), array(y)
        return like(np.mean(np.logaddexp(0, ctx.z) - ctx.z * ctx.y), z)

    @staticmethod
    def backward(ctx, g):
        share = float(g) / len(ctx.z)
        p = np.exp(-np.logaddexp(0, -ctx.z))
        return like(share * (p - ctx.y), g), like(-share * ctx.z, g)


if __name__ == "__main__":
    check(LogSoftmax)
    check(NLL)
    check(Hinge)
    check(BCEWithLogits)
