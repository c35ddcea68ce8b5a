"""The packaged data are those of scikit-learn, in the form that the tasks count on."""

import subprocess
import sys
from importlib.metadata import packages_distributions

import numpy as np
import pytest
import torch
from sklearn import datasets as sklearn_datasets

from harness.training.datasets import load_concave_points, load_digits


def test_digits_are_those_of_scikit_learn():
    source = sklearn_datasets.load_digits()
    images, labels = load_digits()
    # 16 is a power of two, so scaling back is exact.
    assert np.array_equal(images.numpy() * 16, source.data)
    assert np.array_equal(labels.numpy(), source.target)


def test_digits_have_the_promised_form():
    images, labels = load_digits()
    assert (images.shape, images.dtype) == ((1797, 64), torch.float64)
    assert (labels.shape, labels.dtype) == ((1797,), torch.int64)
    assert (images.min().item(), images.max().item()) == (0.0, 1.0)
    assert labels.unique().tolist() == list(range(10))


def test_concave_points_are_those_of_scikit_learn():
    source = sklearn_datasets.load_breast_cancer()
    column = list(source.feature_names).index("worst concave points")
    diagnoses = source.target_names[source.target]
    values, labels = load_concave_points()
    assert np.array_equal(values.numpy(), source.data[:, column])
    assert np.array_equal(labels.numpy() == 1.0, diagnoses == "malignant")
    assert np.array_equal(labels.numpy() == 0.0, diagnoses == "benign")


def test_concave_points_have_the_promised_form():
    values, labels = load_concave_points()
    assert (values.shape, values.dtype) == ((569,), torch.float64)
    assert (labels.shape, labels.dtype) == ((569,), torch.float64)
    assert labels.unique().tolist() == [0.0, 1.0]


@pytest.mark.parametrize("load", [load_digits, load_concave_points])
def test_a_caller_may_change_what_it_got(load):
    for tensor in load():
        tensor.zero_()
    assert all(tensor.any() for tensor in load())


@pytest.mark.slow
def test_loading_imports_nothing_beyond_torch_and_numpy():
    program = """
import sys
import numpy, torch
before = set(sys.modules)
from harness.training.datasets import load_concave_points, load_digits
load_digits(), load_concave_points()
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    third_party = packages_distributions().keys() - {"harness", "numpy", "torch"}
    assert set(done.stdout.split()) & third_party == set()
