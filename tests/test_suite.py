"""The tests run as the Makefile means them to."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def shared():
    """Something that a module makes once."""


def test_tests_that_share_a_fixture_run_in_one_process(shared, request):
    if getattr(request.config.option, "loadgroup", False):
        assert request.node.nodeid.endswith("@test_suite")
