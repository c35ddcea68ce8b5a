"""What all tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

    from grading.sandbox.zygote import Zygote

# Tests run side by side: threads of torch's own, in them and in what they start, would fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Ctrl-C reaches what tests start, also where they run in the background and it is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Speed is measured in benchmarks/; the first call into torch takes long on a busy machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# In this order, so that only short ones are left when the first of several workers has no more.
LONGEST = (
    "test_attacks",
    "test_verify",
    "test_diagnosis",
    "test_sample_class",
    "test_nbgrader",
    "test_lab",
    "test_gradebook",
    "test_instructors",
    "test_resume",
    "test_batch",
    "test_notebooks",
    "test_pytest_plugin",
    "test_cli",
    "test_gradescope",
    "test_judge",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules that take longest first, and keep tests that share a fixture together."""
    place = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))
    for item in items:
        if _shares(item) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _shares(item: pytest.Item) -> bool:
    """Return whether the test uses what its module makes once, and its neighbours use too."""
    if not isinstance(item, pytest.Function):
        return False
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return any(each[-1].scope in ("class", "module") for each in fixtures)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes test side by side: tests wait for processes and deadlines too."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(3 * (cores or 1) // 2, 2)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of permissions as root, whom they do not bind."""
    root = not hasattr(os, "geteuid") or os.geteuid() == 0
    if root and item.get_closest_marker("permissions"):
        pytest.skip("nothing is forbidden to root; test_users.py runs it as an ordinary user")


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """A warm process for all tests that do it no harm: each takes seconds to start."""
    from grading.sandbox.zygote import Zygote

    with Zygote() as running:
        running.wait()
        yield running


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    """A real browser, without a window. Tests that ask for it skip by name where there is none."""
    pytest.importorskip("selenium")
    from screenshots.browser import NEEDED, browser
    from tests.users import needs

    for program in NEEDED:
        needs(program)
    with browser() as one:
        yield one
