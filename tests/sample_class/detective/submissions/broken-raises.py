"""Broken: relu_cases raises, and weighted_sum_cases returns nothing."""


def error_cases():
    return [{"a": 0.5, "y": 2.0, "g": -3.0}]


def relu_cases():
    return [{"z": [[0.5]], "g": [[1 / 0]]}]


def weighted_sum_cases():
    {"a_prev": [[1.0]], "w": [[1.0]], "b": [1.0], "g": [[1.0]]}


def mean_error_cases():
    return [
        {
            "a": [[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]],
            "y": [[0.0, 2.5], [1.0, 1.0], [1.0, -0.5]],
            "g": -2.0,
        }
    ]
