"""`pytest --backprop-submission FILE` turns the checks of an assignment into pytest's items.

The code runs as under `backprop check`, in a process of its own. Without the option nothing is
loaded or done. Both options have a prefix, since a course may have its own `--submission` or
`--assignment`.
"""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options."""
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


def pytest_configure(config: pytest.Config) -> None:
    """Check the submission, if there is one. Raise UsageError for one that cannot be used."""
    file = config.getoption("--backprop-submission")
    assignment = config.getoption("--backprop-assignment")
    if file is None:
        if assignment is not None:
            raise pytest.UsageError(
                "--backprop-assignment needs --backprop-submission FILE: add it."
            )
        return
    from grading.errors import refused_as
    from grading.selfcheck.work import read_work

    with refused_as(_usage_error):
        work = read_work(Path(file), assignment)
        # Nobody waits for torch to be told of a file that cannot be used.
        from grading.selfcheck.pytest_checks import Checks

        checks = Checks(config, work)
    config.pluginmanager.register(checks, "backprop-checks")


def _usage_error(said: str) -> pytest.UsageError:
    # The sentence names the option of `backprop check`.
    return pytest.UsageError(said.replace(" --assignment ", " --backprop-assignment "))
