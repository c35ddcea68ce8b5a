"""Grade one submission on Gradescope, behind the wall: what ``run_autograder`` runs.

Called as ``python -m grading.exports.autograder ASSIGNMENT /autograder``.
"""

import gc
import json
import os
import sys
from dataclasses import astuple, replace
from pathlib import Path

# One thread: the default is half a core.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
# Garbage collection would slow down the imports, and what they load stays.
gc.disable()

import torch

from grading.errors import not_isolated, refused_as
from grading.exports.gradescope import SECRET_FILE, gradescope_results
from grading.results.lines import OPEN
from grading.sandbox import LEVELS
from grading.sandbox.reader import Reader
from grading.sandbox.zygote import Zygote
from grading.submissions.reading import Entry, read_submission
from grading.workers.grader import grade_alone
from grading.workers.seeds import keyed_seed
from grading.workers.selftest import judge_known
from harness.course.assignments import load_assignment, use_course
from harness.course.settings import Limits, settings_beside
from harness.errors import UserError

gc.freeze()
gc.enable()

# Gradescope kills everything after ten minutes or above 768 MB and loses the results; it gives half
# a core. The judge and the wall need 400 MiB themselves. A submission that only waits, twice over,
# takes up to 2 * (2.5 * submission_seconds + 8 * call_seconds) by the clock.
MOST = Limits(call_seconds=5.0, submission_seconds=50.0, memory_mib=256)
ELSEWHERE = "Where much is at stake, regrade with `backprop grade` on another machine."


def grade(assignment_name: str, base: Path) -> None:
    """Grade ``base/submission``, and write ``base/results/results.json`` at the very end."""
    torch.set_num_threads(1)
    use_course(base / "source")
    settings = settings_beside(base / "source", assignment_name)
    limits = Limits(*map(min, astuple(settings.limits), astuple(MOST)))
    settings = replace(settings, limits=limits)
    entry = Entry("submission", (str(base / "submission"),))
    with Zygote(LEVELS, settings.packages) as spawner:
        if spawner.isolation == "minimal":
            # Standard output is shown to staff only.
            print(not_isolated("the autograder's files", ELSEWHERE))
        judge_known(spawner)
        with Reader(spawner, limits.memory_mib) as reader:
            submission = read_submission(entry, assignment_name, reader.source)
        # Attempts are unlimited: what one reveals of its hidden inputs must not help the next.
        seed = keyed_seed((base / "source" / SECRET_FILE).read_bytes(), submission.digest)
        result = grade_alone(submission, load_assignment(assignment_name), settings, seed, spawner)
    if result.status in OPEN:
        raise UserError(result.reason or "")
    results = base / "results"
    results.mkdir(exist_ok=True)
    text = json.dumps(gradescope_results(result), ensure_ascii=False, indent=1)
    (results / "results.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    # Without a results.json Gradescope gives no mark.
    with refused_as(lambda said: SystemExit(f"{said} There is no mark: run the autograder again.")):
        grade(sys.argv[1], Path(sys.argv[2]))
