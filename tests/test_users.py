"""Where root runs the tests, those marked `permissions` run as an ordinary user too."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import pytest

from tests.users import ORDINARY, PROJECT, as_ordinary_user

MARK = "@pytest.mark.permissions\n"


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="the tests run as an ordinary user"
)
def test_permissions_bind_an_ordinary_user():
    modules = sorted((PROJECT / "tests").glob("test_*.py"))
    marked = [path for path in modules if MARK in path.read_text(encoding="utf-8")]
    prefix = as_ordinary_user()
    with tempfile.TemporaryDirectory(prefix="ordinary-") as name:
        os.chown(name, ORDINARY, ORDINARY)
        options = ["-m", "permissions", "-p", "no:cacheprovider", "--basetemp", f"{name}/tests"]
        own = {"HOME": name, "TMPDIR": name, "HYPOTHESIS_STORAGE_DIRECTORY": f"{name}/hypothesis"}
        done = subprocess.run(
            [*prefix, sys.executable, "-B", "-m", "pytest", "-q", *options, *marked],
            cwd=PROJECT,
            env=os.environ | own,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0 and "skipped" not in done.stdout, done.stdout + done.stderr
