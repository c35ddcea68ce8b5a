"""`pytest --backprop-submission FILE` turns the checks of an assignment into pytest's items.

The code runs as under `backprop check`, in a process of its own. Without the option nothing is
loaded or done. Both options have a prefix, since a course may have its own `--submission` or
`--assignment`.
"""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("backprop", "checks of backward passes (backprop-harness)")
    group.addoption(
        "--backprop-submission",
        metavar="FILE",
        help="Check this .py file or notebook, or the one in this zip or folder, rather than "
        "collecting tests.",
    )
    group.addoption(
        "--backprop-assignment",
        metavar="NAME",
        help="The assignment, if the file does not say which it is.",
    )
    group.addoption(
        "--backprop-course",
        metavar="DIR",
        help="The course's folder. Default: the nearest one, here or above, that holds solutions/.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the submission, if there is one. Raise UsageError for one that cannot be used."""
    file = config.getoption("--backprop-submission")
    assignment = config.getoption("--backprop-assignment")
    course = config.getoption("--backprop-course")
    if file is None:
        for name, value in (("assignment", assignment), ("course", course)):
            if value is not None:
                raise pytest.UsageError(f"--backprop-{name} needs --backprop-submission FILE.")
        return
    from grading.errors import refused_as
    from grading.selfcheck.work import read_work
    from harness.course.assignments import choose_course

    with refused_as(_usage_error):
        choose_course(course and Path(course))
        work = read_work(Path(file), assignment)
        # Nobody waits for torch to be told of a file that cannot be used.
        from grading.selfcheck.pytest_checks import Checks

        checks = Checks(config, work)
    config.pluginmanager.register(checks, "backprop-checks")


def _usage_error(said: str) -> pytest.UsageError:
    # The sentence names the options of `backprop check`.
    said = said.replace("Choose one with --file.", "Give the path of the one that counts.")
    return pytest.UsageError(said.replace(" --assignment ", " --backprop-assignment "))
