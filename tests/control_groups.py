"""Runs commands with a container's memory and processor time, by control groups of the kernel's."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
PERIOD = 100_000
_numbers = itertools.count()


@dataclass(frozen=True)
class Group:
    """A control group: what joins it shares its memory and its processor time."""

    folders: tuple[Path, ...]

    def around(self) -> Sequence[str]:
        """What to put before a command line to run it in the group."""
        join = "; ".join(f"echo $$ > {folder}/cgroup.procs" for folder in self.folders)
        return ["sh", "-c", f'{join}; exec "$@"', "sh"]

    def peak_mib(self) -> float:
        """The most memory that was used at once, in MiB."""
        names = ("memory.max_usage_in_bytes", "memory.peak")
        return max(int(text) for text in self._read(names)) / 2**20

    def kills(self) -> int:
        """How many processes the kernel has killed for lack of memory."""
        texts = self._read(("memory.oom_control", "memory.events"))
        lines = [line.split() for text in texts for line in text.splitlines()]
        return sum(int(value) for name, value in lines if name == "oom_kill")

    def _read(self, names: Sequence[str]) -> list[str]:
        paths = [folder / name for folder in self.folders for name in names]
        return [path.read_text() for path in paths if path.is_file()]


@contextlib.contextmanager
def control_group(memory_mib: int, cores: float) -> Iterator[Group]:
    """A new group. Skips the test where this machine or user cannot make one."""
    settings = _settings(memory_mib, cores)
    name = f"backprop-{os.getpid()}-{next(_numbers)}"
    folders = tuple(parent / name for parent in settings)
    try:
        for (parent, values), folder in zip(settings.items(), folders, strict=True):
            folder.mkdir()
            for file, value in values.items():
                (folder / file).write_text(value)
            assert parent.is_dir()
        yield Group(folders)
    finally:
        for folder in filter(Path.is_dir, folders):
            _remove(folder)


def _settings(memory_mib: int, cores: float) -> dict[Path, dict[str, str]]:
    """What to write where, for the version of control groups that this machine has."""
    memory, quota = str(memory_mib * 2**20), str(int(cores * PERIOD))
    if sys.platform == "linux" and not os.geteuid():
        if V1.is_dir():
            times = {
                "cpu.cfs_period_us": str(PERIOD),
                "cpu.cfs_quota_us": quota,
                "cpu.shares": "262144",  # its part is its own, whatever else runs
            }
            return {
                V1: {"memory.limit_in_bytes": memory},
                V1.with_name("cpu"): times,
            }
        control = V2 / "cgroup.subtree_control"
        if control.is_file() and {"cpu", "memory"} <= set(control.read_text().split()):
            values = {"memory.max": memory, "cpu.max": f"{quota} {PERIOD}", "cpu.weight": "10000"}
            return {V2: values}
    pytest.skip("control groups of memory and processor time can only be made by root on Linux")


def _remove(folder: Path) -> None:
    """Removes a group, as soon as what was in it has ended."""
    until = time.monotonic() + 30
    while True:
        try:
            folder.rmdir()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
