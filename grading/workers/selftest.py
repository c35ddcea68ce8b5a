"""Makes sure that the grader works here: known submissions are graded before any other.

What else is installed, or the machine, can break it so that a whole class seems to fail.
"""

from functools import cache
from pathlib import Path

from grading.errors import hinted
from grading.sandbox import Spawner, SpawnerError
from grading.sandbox.reader import Reader
from grading.submissions.reading import Entry, read_submission
from grading.workers.grader import grade_submission
from grading.workers.jobs import Graded, GraderBroken, decode_graded, encode_graded
from harness.course.assignments import load_assignment
from harness.course.settings import Settings
from harness.probes import plan

ASSIGNMENT = "one-neuron"
KNOWN = Path(__file__).parent / "known"
WRONG = "sigmoid/gradient/z"
# It takes as long as all the rest, and sends nothing over the wire that the chain does not.
LEFT_OUT = "training"
SEED = 0
# A busy machine can cost a known submission its time.
TRIES = 3


def judge_known(spawner: Spawner) -> None:
    """Grade a right and a wrong submission, from their files to the encoded result.

    Raise GraderBroken if one of them does not get the marks it deserves, and SpawnerError if no
    process for their code can be started.
    """
    off = ""
    for _ in range(TRIES):
        off = _off("right.ipynb", spawner) or _off("wrong.ipynb", spawner)
        if not off:
            return
    raise GraderBroken(
        hinted(
            f"The grader does not work on this machine ({off}), so nothing is marked: install "
            "backprop-harness again with the package versions that it requires."
        )
    )


def _off(name: str, spawner: Spawner) -> str:
    """Describe what is wrong with the grades of a known submission, "" if nothing is."""
    try:
        graded = decode_graded(encode_graded(_graded(name, spawner)))
    except SpawnerError:
        raise
    except Exception as error:
        # Whatever it is, it would happen to every submission.
        return f"a known submission, {name}, led to {type(error).__name__}: {error}"
    result = graded.result
    wrong = [check.id for check in result.checks if check.outcome in ("failed", "error")]
    expected = [WRONG] if name == "wrong.ipynb" else []
    if result.status == "graded" and wrong == expected:
        return ""
    found = result.reason or f"fails {', '.join(wrong[:3]) or 'nothing'}"
    return f"a known submission, {name}, must fail {' '.join(expected) or 'nothing'}, but {found}"


def _graded(name: str, spawner: Spawner) -> Graded:
    assignment, settings = load_assignment(ASSIGNMENT), Settings()
    with Reader(spawner) as reader:
        entry = Entry(name, (str(KNOWN / name),))
        submission = read_submission(entry, ASSIGNMENT, reader.source)
    return grade_submission(submission, assignment, settings, SEED, spawner, only=known_checks())


@cache
def known_checks() -> tuple[str, ...]:
    """Return the ids of the checks that known submissions are tried with."""
    planned = plan(load_assignment(ASSIGNMENT), Settings())
    return tuple(check.id for check in planned if check.id != LEFT_OUT)
