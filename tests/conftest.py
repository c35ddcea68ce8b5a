"""Options, fixtures and the order of all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from harness.course.assignments import use_course

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

LONGEST_ID = 60
# These start first, the longest of them at the top, so that only short tests are left at the end.
LONGEST = (
    "test_containers",
    "test_operation_database",
    "test_attacks",
    "test_nbgrader",
    "test_types",
    "test_sample_class",
    "test_instructors",
    "test_own_mistakes",
    "test_hidden_channels",
    "test_examples",
    "test_own_release",
    "test_verify",
    "test_cli",
    "test_batch",
    "test_lab",
    "test_gradebook",
    "test_notebooks",
    "test_gradescope",
    "test_pytest_plugin",
    "test_lost_input",
    "test_resume",
    "test_diagnosis",
    "test_judge",
)


@pytest.fixture(autouse=True)
def no_course() -> None:
    """A process has one course, and a command that ran in this one may have left another."""
    use_course(None)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the modules that take longest first, and keep tests that share a fixture together."""
    place = {name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))
    for item in items:
        if _shares(item) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def _shares(item: pytest.Item) -> bool:
    """Return whether the test uses a fixture that its module or class makes once."""
    if not isinstance(item, pytest.Function):
        return False
    fixtures = item._fixtureinfo.name2fixturedefs.values()
    return any(each[-1].scope in ("class", "module") for each in fixtures)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name a long text by its beginning: some are of many thousand characters."""
    if isinstance(val, str | bytes) and len(val) > LONGEST_ID:
        return f"{val[:LONGEST_ID]!a}..."
    return None


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return the number of test processes: more than cores, as tests wait for other processes."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(3 * (cores or 1) // 2, 2)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of permissions as root, whom they do not bind."""
    root = not hasattr(os, "geteuid") or os.geteuid() == 0
    if root and item.get_closest_marker("permissions"):
        pytest.skip("nothing is forbidden to root; test_users.py runs it as an ordinary user")


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Start a warm process for all tests that do not harm it: starting one takes seconds."""
    from grading.sandbox.zygote import Zygote

    with Zygote() as running:
        running.wait()
        yield running


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    """Start a real browser without a window. Skip the test by name if there is no browser."""
    pytest.importorskip("selenium")
    from screenshots.browser import NEEDED, browser
    from tests.users import needs

    for program in NEEDED:
        needs(program)
    with browser() as one:
        yield one
