"""What commands cost: wall clock, processor time and memory of everything they start.

The commands run under a process of their own that adopts orphans, so that the kernel hands it the
processor time of every descendant: also of those whose parent died first, or that lived in a PID
namespace. Memory is sampled, which costs time itself: it is asked for in runs of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
PR_SET_CHILD_SUBREAPER = 36
# How long what a command left behind may take to end by itself.
GRACE_SECONDS = 5.0
# Nothing here takes that long: what hangs must end some time.
LONGEST_SECONDS = 1800.0
OVERDUE = 124


@dataclass(frozen=True)
class Command:
    """What to run, where, and with which variables besides those that are set already."""

    argv: Sequence[str]
    cwd: str
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """What commands cost together.

    ``walls`` are those of each command. ``others`` is how many cores other work on the machine,
    or on the host of a virtual one, kept busy meanwhile. ``pss`` is how the memory of the whole
    tree ran, in MiB, where it was asked for; ``unseen`` counts readings that the system refused.
    ``left`` counts the processes that had to be killed after the commands had ended.
    """

    wall: float
    cpu: float
    codes: list[int]
    walls: list[float]
    others: float
    pss: list[float]
    unseen: int
    left: int


class MeterError(Exception):
    """The commands could not be measured; the text says why."""


def measure(
    commands: Sequence[Command], log: Path, *, at_once: int = 1, sample_seconds: float = 0.0
) -> Usage:
    """Runs the commands, ``at_once`` of them side by side, their output going to ``log``.

    With ``sample_seconds`` memory is read that often. Raises MeterError where it fails itself.
    """
    order = {
        "commands": [asdict(each) for each in commands],
        "log": str(log),
        "at_once": at_once,
        "sample_seconds": sample_seconds,
    }
    # Free of what the caller has loaded, and of its threads.
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.meter"],
        input=json.dumps(order),
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise MeterError(f"the meter itself failed: {done.stderr.strip()}")
    return Usage(**json.loads(done.stdout))


def _main() -> None:
    order = json.load(sys.stdin)
    commands = [Command(**each) for each in order["commands"]]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with (
        Path(order["log"]).open("ab") as log,
        _sampled(order["sample_seconds"]) as memory,
        ThreadPoolExecutor(order["at_once"]) as pool,
    ):
        start, busy = time.monotonic(), _busy_seconds()
        done = list(pool.map(lambda command: _run(command, log.fileno()), commands))
        wall, busy = time.monotonic() - start, _busy_seconds() - busy
    left = _reap_orphans()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime
    usage = Usage(
        wall=wall,
        cpu=cpu,
        others=max(busy - cpu, 0.0) / wall,
        codes=[code for code, _ in done],
        walls=[seconds for _, seconds in done],
        pss=memory.readings,
        unseen=memory.unseen,
        left=left,
    )
    json.dump(asdict(usage), sys.stdout)


def _run(command: Command, log: int) -> tuple[int, float]:
    start = time.monotonic()
    try:
        code = subprocess.run(
            command.argv,
            cwd=command.cwd,
            env={**os.environ, **command.env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            timeout=LONGEST_SECONDS,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        code = OVERDUE
    return code, time.monotonic() - start


def _reap_orphans() -> int:
    """Waits for what the commands left behind; kills, and counts, what does not end."""
    until = time.monotonic() + GRACE_SECONDS
    killed: set[int] = set()
    with contextlib.suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
            if time.monotonic() > until:
                for pid in set(descendants(os.getpid())) - killed:
                    killed.add(pid)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
    return len(killed)


class _Memory:
    """Readings of the memory of all descendants of this process."""

    def __init__(self) -> None:
        self.readings: list[float] = []
        self.unseen = 0

    def read(self) -> None:
        total = 0
        for pid in descendants(os.getpid()):
            try:
                total += pss_kib(pid)
            except PermissionError:
                self.unseen += 1
            except OSError:
                continue  # it has ended since
        self.readings.append(total / 1024)


@contextlib.contextmanager
def _sampled(seconds: float) -> Iterator[_Memory]:
    memory = _Memory()
    if not seconds:
        yield memory
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(seconds):
            memory.read()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield memory
    finally:
        over.set()
        watcher.join()


def descendants(root: int) -> list[int]:
    """The process ids of all children of ``root``, their children, and so on."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
                children[int(stat.rpartition(")")[2].split()[1])].append(int(entry.name))
    found: list[int] = []
    waiting = [root]
    while waiting:
        waiting += children[waiting[0]]
        found += children[waiting.pop(0)]
    return found


def _busy_seconds() -> float:
    """The seconds that all cores were not idle since the machine was started."""
    times = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _waiting, *rest = map(int, times)
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def own_cpu_seconds(pid: int) -> float:
    """The processor time a process has used itself, without that of its children."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def pss_kib(pid: int) -> int:
    """A process's share of the memory it uses: what several share is divided among them."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    (line,) = (line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1])


if __name__ == "__main__":
    _main()
