"""The right functions."""

import numpy as np


def affine_forward(x, w, b):
    return x @ w + b, (x, w)


def affine_backward(dout, cache):
    x, w = cache
    return dout @ w.T, x.T @ dout, dout.sum(axis=0)


def relu_forward(x):
    return np.maximum(x, 0), x


def relu_backward(dout, cache):
    return dout * (cache > 0)


def sigmoid_forward(x):
    out = 1 / (1 + np.exp(-x))
    return out, out


def sigmoid_backward(dout, cache):
    out = cache
    return dout * out * (1 - out)


def softmax_loss(x, y):
    n = np.arange(len(x))
    shifted = x - x.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    dx = np.exp(logs)
    dx[n, y] -= 1
    return -logs[n, y].mean(), dx / len(x)


def svm_loss(x, y):
    n = np.arange(len(x))
    margins = np.maximum(x - x[n, y][:, None] + 1, 0)
    margins[n, y] = 0
    dx = (margins > 0).astype(x.dtype)
    dx[n, y] -= dx.sum(axis=1)
    return margins.sum() / len(x), dx / len(x)


def batchnorm_forward(x, gamma, beta):
    centred = x - x.mean(axis=0)
    root = np.sqrt((centred**2).mean(axis=0) + 1e-5)
    normal = centred / root
    return gamma * normal + beta, (normal, root, gamma)


def batchnorm_backward(dout, cache):
    normal, root, gamma = cache
    dnormal = dout * gamma
    inside = dnormal - dnormal.mean(axis=0) - normal * (dnormal * normal).mean(axis=0)
    return inside / root, (dout * normal).sum(axis=0), dout.sum(axis=0)


def layernorm_forward(x, gamma, beta):
    centred = x - x.mean(axis=1, keepdims=True)
    root = np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    normal = centred / root
    return gamma * normal + beta, (normal, root, gamma)


def layernorm_backward(dout, cache):
    normal, root, gamma = cache
    dnormal = dout * gamma
    inside = dnormal - dnormal.mean(axis=1, keepdims=True)
    inside = inside - normal * (dnormal * normal).mean(axis=1, keepdims=True)
    return inside / root, (dout * normal).sum(axis=0), dout.sum(axis=0)


def dropout_forward(x, keep, dropout_param):
    scale = keep / x.dtype.type(1 - dropout_param["p"])
    return x * scale.astype(x.dtype), scale.astype(x.dtype)


def dropout_backward(dout, cache):
    return dout * cache


def _windows(height, width, rows, columns, stride):
    for i in range((height - rows) // stride + 1):
        for j in range((width - columns) // stride + 1):
            top, left = i * stride, j * stride
            yield i, j, slice(top, top + rows), slice(left, left + columns)


def conv_forward(x, w, b, conv_param):
    pad, stride = conv_param["pad"], conv_param["stride"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    (height, width), (rows, columns) = padded.shape[2:], w.shape[2:]
    shape = (len(x), len(w), (height - rows) // stride + 1, (width - columns) // stride + 1)
    out = np.zeros(shape, x.dtype)
    for i, j, down, across in _windows(height, width, rows, columns, stride):
        out[:, :, i, j] = np.tensordot(padded[:, :, down, across], w, ((1, 2, 3), (1, 2, 3))) + b
    return out, (padded, w, conv_param)


def conv_backward(dout, cache):
    padded, w, conv_param = cache
    pad, stride = conv_param["pad"], conv_param["stride"]
    (height, width), (rows, columns) = padded.shape[2:], w.shape[2:]
    dpadded, dw = np.zeros_like(padded), np.zeros_like(w)
    for i, j, down, across in _windows(height, width, rows, columns, stride):
        d = dout[:, :, i, j]
        dw += np.tensordot(d, padded[:, :, down, across], (0, 0))
        dpadded[:, :, down, across] += np.tensordot(d, w, (1, 0))
    dx = dpadded[:, :, pad : height - pad, pad : width - pad]
    return dx, dw, dout.sum(axis=(0, 2, 3))


def max_pool_forward(x, pool_param):
    size, stride = pool_param["size"], pool_param["stride"]
    height, width = x.shape[2:]
    shape = (*x.shape[:2], (height - size) // stride + 1, (width - size) // stride + 1)
    out = np.zeros(shape, x.dtype)
    for i, j, down, across in _windows(height, width, size, size, stride):
        out[:, :, i, j] = x[:, :, down, across].max(axis=(2, 3))
    return out, (x, pool_param)


def max_pool_backward(dout, cache):
    x, pool_param = cache
    size, stride = pool_param["size"], pool_param["stride"]
    dx = np.zeros_like(x)
    for i, j, down, across in _windows(*x.shape[2:], size, size, stride):
        window = x[:, :, down, across]
        flat = window.reshape(*window.shape[:2], -1)
        first = np.zeros_like(flat)
        np.put_along_axis(first, flat.argmax(axis=2)[..., None], 1, axis=2)
        dx[:, :, down, across] += first.reshape(window.shape) * dout[:, :, i, j][:, :, None, None]
    return dx
