"""Wrong: a batch of one sample, and square symmetric weights."""


def error_cases():
    return [{"a": 0.5, "y": 2.0, "g": -3.0}]


def relu_cases():
    return [{"z": [[0.5, -1.5, 2.0]], "g": [[-2.0, 3.0, 1.5]]}]


def weighted_sum_cases():
    return [
        {
            "a_prev": [[1.5, -2.0]],
            "w": [[0.5, 3.0], [3.0, -1.0]],
            "b": [0.1, 0.2],
            "g": [[2.5, -3.0]],
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
