"""Which differences of two values count as finite differences of a function."""

from __future__ import annotations

import pytest
import torch

from harness.candidate.introspection.watching import _nearly_equal


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize(
    ("apart", "near"),
    [
        (0.0, False),
        (2e-16, False),  # equal but for rounding
        (5e-14, False),
        (2e-13, True),
        (1e-6, True),
        (4e-3, True),
        (6e-3, False),
        (1.0, False),
    ],
)
def test_two_values_are_nearly_equal_from_rounding_up_to_a_small_part_of_their_size(
    size, apart, near
):
    one = torch.tensor([1.0, 0.5], dtype=torch.float64) * size
    other = one + torch.tensor([apart, 0.0], dtype=torch.float64) * size
    assert _nearly_equal((one, other)) is _nearly_equal((other, one)) is near
