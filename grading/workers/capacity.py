"""How many workers this machine, or its container, has cores and memory for."""

import os
from collections.abc import Iterator
from pathlib import Path

MIB = 2**20
# What the grader's own processes need, in total and for each worker, besides what
# submissions may use (measured, rounded up: docs/performance.md).
OWN_MIB = 450
WORKER_MIB = 90
# The files of a control group: its limit, what it uses, and what of that the kernel can take back.
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def needed_mib(workers: int, memory_mib: int) -> int:
    """Return what so many workers may need where each submission may use ``memory_mib``."""
    return OWN_MIB + workers * (WORKER_MIB + memory_mib)


def workers_that_fit(wanted: int, memory_mib: int, available: float) -> int:
    """Return how many of the ``wanted`` workers fit into ``available`` MiB: at least one."""
    room = (available - OWN_MIB) / (WORKER_MIB + memory_mib)
    return int(min(max(room, 1), wanted))


def available_mib(root: Path = Path("/")) -> float:
    """Return how much memory can still be had, in MiB; infinity where the system does not tell.

    It is what the machine has left, or its control groups where they have less.
    """
    return min([*_of_machine(root), *_of_groups(root)], default=float("inf")) / MIB


def _of_machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            yield int(line.split()[1]) * 1024


def _of_groups(root: Path) -> Iterator[int]:
    """Yield what this process's control group, and each one around it, has left."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        names = _V1 if controllers else _V2
        for mount in _mounts(root, "cgroup" if controllers else "cgroup2"):
            # In a container the mount is often its own group, whatever the path says.
            group = mount / path.lstrip("/")
            for folder in dict.fromkeys((group, *group.parents, mount)):
                if folder.is_relative_to(mount):
                    yield from _left(folder, names)


def _mounts(root: Path, kind: str) -> Iterator[Path]:
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        if after.split(" ")[0] == kind and (kind == "cgroup2" or "memory" in after.split(",")):
            yield root / before.split(" ")[4].lstrip("/")


def _left(folder: Path, names: tuple[str, str, str]) -> Iterator[int]:
    limit, used = ("".join(_lines(folder / name)) for name in names[:2])
    if not limit.isdecimal() or not used.isdecimal():
        return  # "max", or a group that sets no limit
    statistics = (line.split(" ") for line in _lines(folder / "memory.stat"))
    reclaimable = sum(int(value) for name, value in statistics if name == names[2])
    yield max(int(limit) - int(used) + reclaimable, 0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []  # not Linux, or no such controller
