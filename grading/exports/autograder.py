"""What ``run_autograder`` runs on Gradescope: one submission, behind the wall, into results.json.

Called as ``python -m grading.exports.autograder ASSIGNMENT /autograder``.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

# One thread: the default is half a core.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import torch

from grading.errors import refusal
from grading.exports.gradescope import SECRET_FILE, gradescope_results
from grading.sandbox import LEVELS
from grading.sandbox.reader import Reader
from grading.sandbox.zygote import Zygote
from grading.submissions.reading import Entry, read_submission
from grading.workers.grader import grade_alone
from grading.workers.seeds import keyed_seed
from grading.workers.selftest import judge_known
from harness.course.assignments import load_assignment
from harness.course.settings import Settings, settings_beside
from harness.errors import UserError

# Gradescope ends everything after ten minutes, or where it needs more than 768 MB, and loses it
# all; it has half a core to give. The judge and the wall need 400 MiB themselves. What does nothing
# but wait, twice over, takes up to 2 * (2.5 * MOST_SECONDS + 6 * MOST_CALL_SECONDS) by the clock.
MOST_SECONDS = 50.0
MOST_CALL_SECONDS = 5.0
MEMORY_MIB = 256
# Standard output is shown to staff only.
NOT_LOCKED = (
    "WARNING: this container lets nothing be locked (isolation: minimal). The submission ran in a "
    "process of its own, limited in time and memory, that could read the autograder's files and "
    "use the network. Where much is at stake, grade again with `backprop grade` elsewhere."
)


def grade(assignment_name: str, base: Path) -> None:
    """Grades ``base/submission`` and writes ``base/results/results.json``, last of all."""
    torch.set_num_threads(1)
    settings = _within_limits(settings_beside(base / "source", assignment_name))
    # A folder that a student hands in; its name says nothing.
    entry = Entry("submission", (str(base / "submission"),))
    memory_mib = settings.limits.memory_mib
    with Zygote(LEVELS, settings.packages) as spawner, Reader(spawner, memory_mib) as reader:
        if spawner.isolation == "minimal":
            print(NOT_LOCKED)
        judge_known(spawner)
        try:
            submission = read_submission(entry, assignment_name, reader.source)
        except OSError as error:
            why = refusal(error, entry.paths[0])
            sys.exit(f"{why} There is no mark: run the autograder again.")
        # Students may try as often as they like: what one attempt tells of its hidden inputs is of
        # no use to the next, which has others.
        seed = keyed_seed((base / "source" / SECRET_FILE).read_bytes(), submission.digest)
        result = grade_alone(submission, load_assignment(assignment_name), settings, seed, spawner)
    results = base / "results"
    results.mkdir(exist_ok=True)
    text = json.dumps(gradescope_results(result), ensure_ascii=False, indent=1)
    (results / "results.json").write_text(text, encoding="utf-8")


def _within_limits(settings: Settings) -> Settings:
    limits = settings.limits
    return replace(
        settings,
        limits=replace(
            limits,
            call_seconds=min(limits.call_seconds, MOST_CALL_SECONDS),
            submission_seconds=min(limits.submission_seconds, MOST_SECONDS),
            memory_mib=min(limits.memory_mib, MEMORY_MIB),
        ),
    )


if __name__ == "__main__":
    try:
        grade(sys.argv[1], Path(sys.argv[2]))
    except UserError as error:
        # Without a results.json Gradescope gives no mark.
        sys.exit(str(error))
