"""`backprop doctor` says what this machine can isolate, and what would help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux locks processes down"),
]

BACKPROP = Path(sys.executable).with_name("backprop")
ONE_NEURON = ("--assignment", "one-neuron")


def doctor(path):
    return subprocess.run(
        [BACKPROP, "doctor"],
        env=os.environ | {"PATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )


def bwrap_saying(folder, text):
    program = folder / "bwrap"
    program.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit 1\n")
    program.chmod(0o755)
    return folder


def test_a_machine_without_bubblewrap_is_told_to_install_it(tmp_path):
    said = doctor(tmp_path)
    assert said.returncode == 0
    assert "✗ full" in said.stdout
    assert "apt install bubblewrap" in said.stdout
    assert "at level partial" in said.stdout
    assert said.stderr == ""


def test_a_system_that_refuses_namespaces_is_told_what_helps(tmp_path):
    path = bwrap_saying(tmp_path, "bwrap: No permissions to create new namespace")
    said = doctor(path)
    assert "No permissions to create new namespace" in said.stdout
    assert "AppArmor" in said.stdout
    assert "at level partial" in said.stdout


def test_grading_refuses_a_level_that_cannot_be_had_and_says_why(tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "alice.py").write_text("x = 1\n")
    said = subprocess.run(
        [str(BACKPROP), "grade", "class", "--out", "out", "--isolation", "full", *ONE_NEURON],
        cwd=tmp_path,
        env=os.environ | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 2
    assert "bubblewrap is not installed" in said.stderr
    assert "backprop doctor" in said.stderr
    assert "Traceback" not in said.stderr
