"""`pytest --backprop-submission FILE` makes the checks of an assignment pytest's own items.

The code runs as under `backprop check`, in a process of its own, which is why this is no part of
harness. Without the option nothing is loaded, and nothing is done. Both options have a prefix,
since a course may have a `--submission` or `--assignment` of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the two options."""
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
        help="Which assignment it is, if the file does not tell.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Takes over where there is a submission. Raises UsageError for one that cannot be used."""
    file = config.getoption("--backprop-submission")
    assignment = config.getoption("--backprop-assignment")
    if file is None:
        if assignment is not None:
            raise pytest.UsageError(
                "--backprop-assignment says what --backprop-submission FILE is: add that."
            )
        return
    from grading.selfcheck.work import read_work

    try:
        work = read_work(Path(file), assignment)
    except UserError as error:
        # The sentence names the option of `backprop check`.
        said = str(error).replace(" --assignment ", " --backprop-assignment ")
        raise pytest.UsageError(said) from None
    from grading.selfcheck.pytest_checks import Checks

    config.pluginmanager.register(Checks(config, work), "backprop-checks")
