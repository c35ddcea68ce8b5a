"""The types of the project are right. It is a test, so that other tests run beside it."""

from __future__ import annotations

import subprocess
import sys

from tests.users import PROJECT


def test_types_are_right():
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
