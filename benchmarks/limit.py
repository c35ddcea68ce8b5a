"""The limit: the judge in warm processes, on code in those same processes, without any isolation.

One submission can change what the next one gets, so nobody could grade like this: it shows what
the judgements themselves cost. The process that hands out the files loads no torch: its memory
would count too.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

ASSIGNMENT = "many-neurons"


@dataclass(frozen=True)
class Judged:
    """One submission, judged: what it got, and what that took."""

    name: str
    passed: bool
    wall: float
    cpu: float


def judge_file(path: Path) -> Judged:
    """Runs a module's source in a namespace of its own and judges what it defines."""
    from harness.candidate.workbench import Workbench
    from harness.course.assignments import load_assignment
    from harness.judging.judge import judge

    wall, cpu = time.perf_counter(), time.process_time()
    names: dict[str, Any] = {"__name__": "submission"}
    try:
        exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), names)
    except Exception:
        pass  # what it defined until then is judged
    report = judge(load_assignment(ASSIGNMENT), Workbench(names)).report
    return Judged(path.stem, report.passed, time.perf_counter() - wall, time.process_time() - cpu)


def warm_up() -> None:
    """Makes this process ready: one thread, and everything computed that is computed once."""
    import torch

    from harness.candidate.workbench import Workbench
    from harness.course.assignments import load_assignment
    from harness.judging.judge import judge

    torch.set_num_threads(1)
    assignment = load_assignment(ASSIGNMENT)
    references = {stage.name: _function(stage.name, stage.forward) for stage in assignment.stages}
    judge(assignment, Workbench(references, trusted=True))


def judge_folder(folder: Path, processes: int) -> dict[str, Any]:
    """Judges all modules in ``folder``, in processes that are warm when the clock starts."""
    context = multiprocessing.get_context("spawn")
    warm = context.Barrier(processes + 1)
    paths = sorted(folder.glob("*.py"))
    with context.Pool(processes, _start, (warm,)) as pool:
        warm.wait()
        start = time.perf_counter()
        judged = list(pool.imap_unordered(judge_file, paths))
        wall = time.perf_counter() - start
        pool.close()
        pool.join()
    return {"wall": wall, "judged": [asdict(each) for each in judged]}


def _start(warm: Barrier) -> None:
    warm_up()
    warm.wait()


def _function(name: str, forward: Callable[..., Any]) -> object:
    return type(name, (), {"apply": staticmethod(forward)})


if __name__ == "__main__":
    given_folder, given_processes, out = sys.argv[1:]
    result = judge_folder(Path(given_folder), int(given_processes))
    Path(out).write_text(json.dumps(result), encoding="utf-8")
