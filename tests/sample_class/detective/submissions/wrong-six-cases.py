"""Wrong: six cases of the squared error, and only the last one is any good."""


def error_cases():
    tame = [{"a": 2.0, "y": 1.0, "g": 1.0} for _ in range(5)]
    return [*tame, {"a": 0.5, "y": 2.0, "g": -3.0}]


def relu_cases():
    return [{"z": [[0.5, -1.5, 2.0]], "g": [[-2.0, 3.0, 1.5]]}]


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
