"""Wrong backwards for the stages that the examples declare: none passes, and most are read."""

from __future__ import annotations

import pytest

from tests.diagnosing import OWN, own_candidate, own_checks, reproduces

# Of the wrong gradients that an expression describes, so many get a formula.
LEAST = 0.95


def read(entries):
    """Of wrong gradients: how many have an expression, and how many of those get a formula."""
    closed = found = 0
    for entry in entries:
        stage, candidate = own_candidate(entry)
        for name, check in own_checks(stage, candidate).items():
            if name not in entry["wrong"]:
                right = check.outcome == "passed" or entry["forward"] or name in stage.optional
                assert right, (entry, check)
                continue
            assert check.outcome == "failed", (entry, check)
            closed += name in entry["formula"]
            if check.diagnosis is not None:
                found += name in entry["formula"]
                assert len(check.diagnosis.formula) <= 80
                assert reproduces(stage, name, candidate, check.diagnosis.formula), (entry, check)
    return closed, found


@pytest.mark.slow
@pytest.mark.proof
def test_of_some_wrong_backwards_none_passes_and_most_are_read():
    closed, found = read(OWN[::18])
    assert closed > 15
    assert found / closed > 0.85


@pytest.mark.proof
def test_no_wrong_backward_passes_and_all_but_a_few_are_read():
    assert len(OWN) >= 200
    closed, found = read(OWN)
    assert found / closed >= LEAST
