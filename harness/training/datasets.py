"""The real data of the end-to-end tasks, as torch tensors.

Both data sets are packaged, so that no task needs a network. Their sources and
licences are in ``data/README.md``.
"""

from importlib import resources

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["load_concave_points", "load_digits"]


def load_digits() -> tuple[Tensor, Tensor]:
    """Return 8 × 8 images of handwritten digits, and which digits they are.

    The images are float64 of shape (1797, 64), from 0 (blank) to 1 (ink); the
    labels are int64 of shape (1797,), from 0 to 9. Source: E. Alpaydin and
    C. Kaynak, Optical Recognition of Handwritten Digits (its test set), UCI
    Machine Learning Repository, 1998.
    """
    arrays = _read("digits.npz")
    images = torch.from_numpy(arrays["images"]).to(torch.float64) / 16
    return images, torch.from_numpy(arrays["labels"]).to(torch.int64)


def load_concave_points() -> tuple[Tensor, Tensor]:
    """Return one measured feature of cell samples, and which are malignant.

    The values are float64 of shape (569,), as measured (0 to about 0.3); the
    labels are float64 of shape (569,), 0.0 for benign and 1.0 for malignant.
    Source: W. Wolberg, O. Mangasarian, N. Street and W. Street, Breast Cancer
    Wisconsin (Diagnostic), the feature "worst concave points", UCI Machine
    Learning Repository, 1993.
    """
    arrays = _read("concave_points.npz")
    values = torch.from_numpy(arrays["values"])
    return values, torch.from_numpy(arrays["labels"]).to(torch.float64)


def _read(name: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of one packaged file, which is read for each caller."""
    path = resources.files("harness.training") / "data" / name
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
