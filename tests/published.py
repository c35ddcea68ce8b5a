"""Results as a run publishes them, made up: right, wrong, and with text that would act."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from grading.pages.folder import REPORT, make_report
from grading.pages.names import page_address
from grading.pages.packs import pack_at, unpacked
from grading.results.lines import Result, Seconds, publish
from harness.course.report import Check, Diagnosis, Flag
from harness.course.settings import Settings

ATTACK = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">"
SECRET = "only-for-staff"


def check_line(id, stage, outcome="passed", **more):
    facts = {
        "title": f"title of {id}",
        "points": 1.0 if outcome == "passed" else 0.0,
        "max_points": 1.0,
    }
    return Check(id=id, stage=stage, outcome=outcome, **{**facts, **more})


def wrong_line(message="∂C/∂z is wrong.\nYour ∂C/∂z behaves like g ⊙ z."):
    return check_line(
        "sigmoid/gradient/z",
        "Sigmoid",
        "failed",
        message=message,
        staff=f"{SECRET} 0.123456",
        case={"seed": 77001, "N": 5, "K": 3, "index": 2},
        diagnosis=Diagnosis("grad_z", "z-for-slope", "g * z", "g * a * (1 - a)", "Which slope?"),
    )


def result_of(name, *checks, **more):
    facts = {
        "status": "graded",
        "score": sum(check.points for check in checks),
        "max_score": 2.0,
        "digest": "d1ge57" * 10,
        "seconds": Seconds(0.3, 0.2),
    }
    return Result(
        submission=name, assignment="many-neurons", checks=list(checks), **{**facts, **more}
    )


RIGHT = check_line("weighted-sum/gradient/w", "WeightedSum")
FLAG = Flag("delegates-to-autograd", "Sigmoid", f"line 3: {SECRET}")


def published(folder, results):
    run = {
        "schema": 1,
        "assignment": "many-neurons",
        "seed": 0,
        "settings": Settings().as_dict(),
        "isolation": "full",
        "versions": {"torch": "2"},
    }
    publish(folder, sorted(results, key=lambda each: each.submission), run)


def report_on(folder):
    return make_report(folder, lambda wanted: ThreadPoolExecutor(1))


def pages_of(folder, submission):
    """The pages of a submission in a folder of results."""
    name, _, key = page_address(submission).partition("/")
    return unpacked(pack_at(folder / REPORT, name))[key]
