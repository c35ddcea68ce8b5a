"""Broken: ReLU's cases never end, which costs only what comes after the fifth."""


def error_cases():
    return [{"a": 0.5, "y": 2.0, "g": -3.0}]


def relu_cases():
    while True:
        yield {"z": [[0.5, -1.5, 2.0]], "g": [[-2.0, 3.0, 1.5]]}


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
