"""Nothing that a candidate is asked about can be computed without the seed."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from harness.candidate.operations import Backward, Forward, Observe
from harness.candidate.workbench import Workbench
from harness.cases.cases import PUBLIC_SEED, make_case
from harness.course.assignments import load_assignment
from harness.course.settings import Settings
from harness.judging.judge import judge
from harness.probes import plan
from tests.right import MANY, ONE

ASSIGNMENTS = [
    pytest.param(load_assignment("one-neuron"), ONE, id="one-neuron"),
    pytest.param(load_assignment("many-neurons"), MANY, id="many-neurons"),
]
SEEDS = (0, 1, 2**53 - 1, 2**52 + 12345)


class Recorder(Workbench):
    """A right candidate that writes down what it is asked."""

    def __init__(self, names):
        super().__init__(names)
        self.asked = []

    def perform(self, operations):
        for each in operations:
            if isinstance(each, Forward):
                self.asked.append((each.stage, each.inputs))
            elif isinstance(each, Backward):
                self.asked.append(("", each.upstream))
            elif isinstance(each, Observe):
                self.asked.append((each.stage, ()))
        return super().perform(operations)


def questions(assignment, names, seed, only=None):
    """What is asked with a seed, in order. Nothing is decided in the training that the gradients
    have not decided: it may be known."""
    recorder = Recorder(names)
    only = only or [check.id for check in plan(assignment, Settings()) if check.id != "training"]
    assert judge(assignment, recorder, seed=seed, only=only).report.passed
    return recorder.asked


def hidden(assignment, names, seed):
    """The tensors that are asked about, without those that are public, and without zeros and ones.

    gradcheck asks with upstreams that are 1 in one entry, the chain begins with an upstream of 1,
    and special values are zeros and ones.
    """
    public, asked = (
        {
            key(value)
            for _, values in questions(assignment, names, each)
            for value in values
            if not is_of_zeros_and_ones(value)
        }
        for each in (PUBLIC_SEED, seed)
    )
    return asked - public


def is_of_zeros_and_ones(value):
    return bool(((value == 0) | (value == 1)).all())


def key(value):
    return tuple(value.shape), str(value.dtype), tuple(value.detach().flatten().tolist())


@pytest.mark.slow
@pytest.mark.parametrize(("assignment", "names"), ASSIGNMENTS)
def test_no_tensor_of_one_seed_is_asked_with_another(assignment, names):
    asked = [hidden(assignment, names, seed) for seed in SEEDS]
    assert all(len(each) > 100 for each in asked)
    for at, one in enumerate(asked):
        for other in asked[:at]:
            assert not one & other


def numbers_in(tensors):
    return {abs(number) for _, _, numbers in tensors for number in numbers} - {0.0, 1.0}


@pytest.mark.slow
@pytest.mark.parametrize(("assignment", "names"), ASSIGNMENTS)
def test_not_even_a_number_of_one_seed_is_asked_with_another(assignment, names):
    """Those of far values included, which are declared."""
    one, other = (numbers_in(hidden(assignment, names, seed)) for seed in (5, 6))
    assert not one & other


@pytest.mark.proof
def test_the_order_of_the_sizes_is_the_seeds():
    assignment = load_assignment("many-neurons")
    checks = [check.id for check in plan(assignment, Settings()) if check.stage]
    for id in checks:
        orders = [
            [
                (stage, tuple(tuple(value.shape) for value in values))
                for stage, values in questions(assignment, MANY, seed, [id])
            ]
            for seed in range(6)
        ]
        assert any(one != other for one, other in pairwise(orders)), id


def numbers(case):
    """The inputs of a case that are tensors."""
    return [value for value in case.inputs if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("stage", load_assignment("one-neuron").stages, ids=lambda s: s.slug)
def test_which_numbers_are_negative_and_which_far_from_zero_is_the_seeds(stage):
    kinds = {
        seed: tuple(
            tuple((bool(value < 0), bool(value.abs() > 4)) for value in numbers(case))
            for case in (make_case(stage, seed, {}, index) for index in range(9))
        )
        for seed in range(6)
    }
    assert len(set(kinds.values())) == len(kinds)


def test_every_seed_brings_numbers_of_all_signs_near_zero_and_far_from_it():
    stage = load_assignment("one-neuron").stage("WeightedSum")
    for seed in range(20):
        cases = [make_case(stage, seed, {}, index) for index in range(9)]
        signs = {tuple(bool(value < 0) for value in numbers(case)) for case in cases}
        assert len(signs) == 8
        for at in range(3):
            sizes = [float(numbers(case)[at].abs()) for case in cases]
            assert min(sizes) < 0.3 and max(sizes) > 4


def test_the_public_example_does_not_depend_on_the_seed():
    assignment = load_assignment("one-neuron")
    first = [key(questions(assignment, ONE, seed, ["sigmoid/forward"])[0][1][0]) for seed in SEEDS]
    assert len(set(first)) == 1


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_keeps_away_from_kinks(seed):
    from harness.declare import real, stage

    def nearly_always_at_a_kink(generator, shape, turn):
        near = torch.rand(shape, generator=generator, dtype=torch.float64)
        return torch.where(near < 0.6, 1e-6 * near, near + 1)

    relu = stage(
        "ReLU", "z[] -> a", torch.relu, inputs={"z": real(sampler=nearly_always_at_a_kink)}
    )
    cases = [make_case(relu, seed, {}, index) for index in range(20)]
    assert all(float(numbers(case)[0]) > 1 for case in cases)
