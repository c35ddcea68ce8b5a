"""When two answers count as equal."""

from __future__ import annotations

import math

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from harness.cases.compare import PRECISION, VALUES, difference
from harness.course.numbers import numbers

reals = st.floats(0.01, 100) | st.floats(-100, -0.01)


@given(st.lists(reals, min_size=1, max_size=12), st.integers(0, 11), st.floats(3e-4, 1e3))
def test_an_entry_that_is_off_is_found_and_named(values, at, off):
    right = torch.tensor(values, dtype=torch.float64)
    at %= len(values)
    got = right.clone()
    got[at] *= 1 + off
    # A tolerance in proportion to the largest entry never hides one that is off by more.
    if abs(off * values[at]) <= 1e-5 * (1 + max(map(abs, values))):
        return
    found = difference(got, right, VALUES, size=1.0)
    assert found and found.index == (at,)
    assert found.right == values[at] and found.got == float(got[at])


@given(st.lists(reals, min_size=1, max_size=12), st.floats(-1e-10, 1e-10))
def test_what_is_equal_but_for_rounding_agrees(values, off):
    right = torch.tensor(values, dtype=torch.float64)
    assert difference(right * (1 + off), right, PRECISION, size=1.0) is None


@given(st.lists(reals, min_size=1, max_size=12))
def test_float32_agrees_in_value_and_not_in_precision(values):
    right = torch.tensor(values, dtype=torch.float64) * math.pi
    rounded = right.float().double()
    assert difference(rounded, right, VALUES, size=1.0) is None
    assert difference(right * (1 + 1e-7), right, PRECISION, size=1.0) is not None


@given(st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_not_finite_is_never_right(bad):
    right = torch.ones(2, 3, dtype=torch.float64)
    got = right.clone()
    got[1, 2] = bad
    found = difference(got, right, VALUES, size=1e9)
    assert found and found.at == "[1, 2]"


def test_a_number_has_no_index():
    found = difference(torch.tensor(1.0), torch.tensor(2.0), VALUES, size=1.0)
    assert found and found.at == ""


@given(reals, reals)
def test_two_numbers_are_shown_apart(one, other):
    left, right = numbers(one, other)
    assert (left == right) == (one == other)
    assert "-" not in left.replace("e-", "")


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(0.011953125)
def test_two_different_doubles_are_shown_apart_however_close_they_are(value):
    other = math.nextafter(value, math.inf)
    left, right = numbers(value, other)
    assert left != right


@given(st.lists(reals, min_size=2, max_size=6), st.sampled_from([math.inf, -math.inf]))
def test_an_infinity_is_right_where_the_same_one_belongs_and_hides_nothing(values, infinite):
    right = torch.tensor([infinite, *values], dtype=torch.float64)
    assert difference(right * (1 + 1e-12), right, PRECISION, size=1.0) is None
    for wrong in (-infinite, 1e300, math.nan):
        got = right.clone()
        got[0] = wrong
        found = difference(got, right, VALUES, size=1.0)
        assert found and found.index == (0,)
    got = right.clone()
    got[1] *= 2
    found = difference(got, right, VALUES, size=1e-3)
    assert abs(values[0]) < 1e-5 * max(map(abs, values)) or (found and found.index == (1,))
