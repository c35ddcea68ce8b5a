"""Right: random inputs and upstreams, in tensors that require a gradient."""

import torch

torch.manual_seed(7)


def random(*shape):
    return (2 * torch.randn(shape, dtype=torch.float64)).requires_grad_()


def error_cases():
    return [{"a": random(), "y": random(), "g": random()} for _ in range(5)]


def relu_cases():
    return [{"z": random(3, 4), "g": random(3, 4)} for _ in range(5)]


def weighted_sum_cases():
    return [
        {"a_prev": random(4, 3), "w": random(2, 3), "b": random(2), "g": random(4, 2)}
        for _ in range(3)
    ]


def mean_error_cases():
    return [{"a": random(N, 3), "y": random(N, 3), "g": random()} for N in (4, 6, 7)]
