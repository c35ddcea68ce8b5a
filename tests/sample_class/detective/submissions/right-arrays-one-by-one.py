"""Right: numpy arrays, in cases that generators yield, and a single case without a list."""

import numpy as np


def error_cases():
    return {"a": np.float32(0.5), "y": np.int8(2), "g": np.array(-3)}


def relu_cases():
    for sign in (1, -1):
        yield {"z": sign * np.linspace(-2, 2, 8)[None], "g": np.arange(-3.0, 5.0)[None] + 0.5}


def weighted_sum_cases():
    return [
        {
            "a_prev": [[1.0, 2.0, -0.5], [-3.0, 0.5, 4.0], [0.7, -1.1, 2.5], [1.5, 3.0, -2.0]],
            "w": [[0.5, -2.0, 1.2], [3.0, 1.0, -0.7]],
            "b": [0.1, 0.2],
            "g": [[2.0, -1.0], [0.5, 3.0], [-1.5, 0.3], [0.8, -2.2]],
        }
    ]


def mean_error_cases():
    return [
        {
            "a": [[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]],
            "y": [[0.0, 2.5], [1.0, 1.0], [1.0, -0.5]],
            "g": -2.0,
        }
    ]
