"""Whether marks depend on the seed: all that `backprop verify` judges, and the sample classes.

Run as ``python -m benchmarks.seeds OUT.jsonl``: hours. OUT keeps what is done, and the same command
goes on from there. Solutions, controls, mutants and the harmless part of the sample classes are
judged in this benchmark's own processes; what is ``behind the wall`` is all of the sample classes.

Everything is judged under every seed. What it is spared is what cannot matter: words, pictures, and
the checks of stages that a mutant leaves as they are in the solution, which is judged by itself.
"""

from __future__ import annotations

import ast
import gc
import json
import os
import random
import signal
import sys
import time
import types
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import click
import torch

from benchmarks.forwards import CannotShare, Ran, Sharing, rest_of
from grading.parsing.source import read_source
from grading.results.versions import versions
from grading.runs.journal import Keys
from grading.sandbox.zygote import Zygote
from grading.submissions.reading import find_submissions
from grading.verify.case import Solution, read_solution
from grading.verify.controls import controls_for
from grading.verify.mutants import formulas_of, mistakes_of
from grading.verify.pairs import written_of
from grading.verify.rewrites import rewrites_of
from grading.workers.batch import grade_entries
from grading.workers.jobs import Job
from grading.workers.seeds import BITS
from harness.candidate.operations import Candidate
from harness.candidate.workbench import Workbench
from harness.course.assignment import Assignment
from harness.course.assignments import SHIPPED, load_assignment
from harness.course.report import Report
from harness.course.settings import Settings
from harness.course.stage import Stage
from harness.judging import judge as judging
from harness.probes import Planned, plan

ROOT = Path(__file__).parent.parent
CLASSES = ROOT / "tests" / "sample_class"
# Those loop, flood or end the process that they run in: they are judged behind the wall only.
HARMFUL = "broken-"
# Wrong code may loop: a judgement takes a hundredth of this.
PATIENCE_SECONDS = 60
PLAIN, TRAINED, WALLED = "without training", "with training", "behind the wall"

# What came of each submission, by its name.
Marks = dict[str, str]
Checks = tuple[Planned, ...]


@dataclass(frozen=True)
class Submission:
    """Code to judge: ``own`` statements, after those of the solution where ``follows``.

    A mutant names the ``stage`` that it changes: the other stages are the solution's. It is
    ``shared`` where only its backward is its own: what that does not share with others like it.
    """

    name: str
    kind: str
    own: tuple[types.CodeType, ...]
    follows: bool = True
    stage: str = ""
    shared: str = ""


class Overdue(BaseException):
    """A judgement that takes too long."""


def statements(*texts: str) -> tuple[types.CodeType, ...]:
    """The top-level statements of cells, without what a handout imports, ready to run."""
    found: list[types.CodeType] = []
    for text in texts:
        try:
            body = ast.parse(text).body
        except SyntaxError:
            continue
        for node in body:
            handout = isinstance(node, ast.ImportFrom) and (node.module or "").startswith("harness")
            if not handout:
                code = ast.Module([node], type_ignores=[])
                found.append(compile(code, "<submission>", "exec", dont_inherit=True))
    return tuple(found)


def run(codes: Sequence[types.CodeType], scope: dict[str, Any]) -> dict[str, Any]:
    """Runs statements one by one, as a submission's are: one that fails hides no other."""
    for code in codes:
        try:
            exec(code, scope)
        except (Exception, SystemExit):
            continue
    return scope


def submissions(name: str) -> Iterator[Submission]:
    """Everything to judge of an assignment. Whether a mutant is right after all does not matter."""
    assignment = load_assignment(name)
    yield Submission(f"{name}: solution", "solution", ())
    for number, (_, code) in enumerate(controls_for(assignment), start=1):
        yield Submission(f"{name}: control {number:03}", "control", statements(code))
    found: dict[str, Submission] = {}
    for stage in assignment.stages:
        for each, kind, code in _mutants(stage, solution_of(name)):
            mutant = Submission(
                f"{name}: {each}", kind, statements(code), stage=stage.name, shared=rest_of(code)
            )
            # Two ways to change a formula often lead to the same text.
            found.setdefault(ast.dump(ast.parse(code)), mutant)
    yield from found.values()
    for path in sorted((CLASSES / name / "submissions").iterdir()):
        if not path.name.startswith(HARMFUL):
            source = read_source(path.name, path.read_bytes())
            codes = statements(*(cell.text for cell in source.cells))
            yield Submission(f"{name}: {path.stem}", "sample", codes, follows=False)


def _mutants(stage: Stage, solution: Solution) -> Iterator[tuple[str, str, str]]:
    """The name, kind and code of each mutant of a stage."""
    for each in (*mistakes_of(stage, solution), *formulas_of(stage, solution)):
        yield each.name, each.kind, read_source(f"x{each.suffix}", each.data).cells[-1].text
    written = written_of(stage, solution.defined())
    assert written
    rewrites = rewrites_of(written, shaped=not stage.is_scalar)
    for number, rewrite in enumerate(rewrites, start=1):
        yield f"source {stage.slug}/{number:03}", "source", rewrite.code


@cache
def solution_of(name: str) -> Solution:
    """The instructor's solution of an assignment."""
    return read_solution(ROOT / "solutions" / name)


@cache
def prepared(name: str) -> tuple[Assignment, dict[str, Any], tuple[Submission, ...]]:
    """The assignment, what its solution defines, and everything to judge of it."""
    cells = [cell.text for cell in solution_of(name).source.cells]
    return load_assignment(name), run(statements(*cells), {}), tuple(submissions(name))


@cache
def checks_of(name: str, stage: str = "", *, training: bool, values: bool = False) -> Checks:
    """The checks that what is judged can fail: of a mutant those of its stage and of the chain.

    The others, and what they need, are the same as of the solution. ``values`` leaves out all but
    the values of the stage.
    """
    checks = plan(load_assignment(name), Settings())
    if not training:
        checks = tuple(each for each in checks if each.id != "training")
    if not stage:
        return checks
    slug = load_assignment(name).stage(stage).slug
    wanted: tuple[str, ...] = (f"{slug}/forward", f"{slug}/gradient/")
    if not values:
        wanted = (f"{slug}/", f"chain/{slug}", "chain/whole", "training")
    own = [each for each in checks if each.id.startswith(wanted)]
    ids = {each.id for each in own}
    return tuple(
        replace(
            each,
            needs=tuple(id for id in each.needs if id in ids),
            after=tuple(id for id in each.after if id in ids),
        )
        for each in own
    )


def prepare() -> None:
    """Makes a process ready to run code that prints, warns and loops."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 - until the process ends
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in SHIPPED:
        prepared(name)
    # What stays is not to be looked through again and again, and little else lasts.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000)


def _overdue(_number: int, _frame: object) -> None:
    raise Overdue


def marks_near(seed: int, *, training: bool, mutants: bool = True) -> Marks:
    """The marks of everything that is judged in this process, under one seed."""
    marks: Marks = {}
    for name in SHIPPED:
        assignment, solved, judged = prepared(name)
        ran: dict[str, Ran] = defaultdict(dict)
        for each in (each for each in judged if mutants or not each.stage):
            scope = run(each.own, dict(solved) if each.follows else {"__name__": "submission"})
            # In processor time: a busy machine changes no mark.
            signal.setitimer(signal.ITIMER_PROF, PATIENCE_SECONDS)
            try:
                mark = _mark(assignment, each, scope, seed, ran[each.shared], training)
            except Overdue:
                mark = "took too long"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            marks[each.name] = mark
            torch.set_default_dtype(torch.float32)
            torch.set_grad_enabled(True)
    return marks


def _mark(
    assignment: Assignment,
    each: Submission,
    scope: dict[str, Any],
    seed: int,
    ran: Ran,
    training: bool,
) -> str:
    """A mark. A mutant whose forward others share has to get its gradients right first."""
    if each.shared:
        values = checks_of(assignment.name, each.stage, training=training, values=True)
        required = assignment.stage(each.stage).required
        with suppress(CannotShare):
            report = _report(assignment, Sharing(scope[each.stage], ran), seed, values)
            outcomes = {check.id.rpartition("/")[2]: check.outcome for check in report.checks}
            # What raises may do so for want of what a forward of its own leaves behind.
            if "error" not in outcomes.values() and any(
                outcomes[name] == "failed" for name in required
            ):
                return _shown(report)
    checks = checks_of(assignment.name, each.stage, training=training)
    return _shown(_report(assignment, Workbench(scope), seed, checks))


def _report(assignment: Assignment, candidate: Candidate, seed: int, checks: Checks) -> Report:
    with patch.object(judging, "plan", lambda *_: checks):
        return judging.judge(assignment, candidate, seed=seed).report


def _shown(report: Report) -> str:
    """The points, the checks that do not pass, and the flags.

    Whether a wrong class raises or gives wrong values can depend on the sizes that come first.
    """
    wrong = [check.id for check in report.checks if check.outcome in ("failed", "error")]
    flags = [f"flag {flag.kind}" for flag in report.flags]
    return ", ".join([f"{report.score:g} of {report.max_score:g}", *wrong, *flags])


def judged_near(index: int, what: str, mutants: bool = True) -> tuple[int, float, Marks]:
    """The marks under the seed number ``index``, and the processor time that they took."""
    began = time.process_time()
    signal.signal(signal.SIGPROF, _overdue)
    # No word costs marks, nor on which public inputs the same goes wrong; and they take time.
    with (
        patch.object(judging._Judging, "_on_public_inputs", lambda *_: None),
        patch.object(judging._Judging, "_advice", lambda _: ()),
    ):
        marks = marks_near(seed_number(index), training=what == TRAINED, mutants=mutants)
    forget_cases()
    return index, time.process_time() - began, marks


def _judged(job: tuple[int, str, bool]) -> tuple[str, int, float, Marks]:
    return job[1], *judged_near(*job)


def forget_cases() -> None:
    """Empties the probes' caches: a grader keeps the cases of one seed, not those of a thousand."""
    for name, module in tuple(sys.modules.items()):
        if name.startswith("harness.probes"):
            for each in vars(module).values():
                if hasattr(each, "cache_clear"):
                    each.cache_clear()


def judged_walled(index: int, zygote: Zygote) -> tuple[int, float, Marks]:
    """The marks of the sample classes behind the wall, and the time by the clock."""
    began = time.monotonic()
    marks: Marks = {}
    for name in SHIPPED:
        entries = find_submissions(CLASSES / name / "submissions")
        job = Job(name, Settings(), seed_number(index))
        for result in grade_entries(entries, job, 2, zygote):
            wrong = [
                f"{check.id}: {check.outcome}"
                for check in result.checks
                if check.outcome in ("failed", "error")
            ]
            mark = f"{result.status}, {result.score} of {result.max_score:g}"
            marks[f"{name}: {result.submission}"] = ", ".join([mark, *wrong])
    return index, time.monotonic() - began, marks


def seed_number(index: int) -> int:
    """A seed as `backprop grade` draws them, always the same for the same number."""
    return random.Random(index).getrandbits(BITS)


class Kept:
    """What is done, in a file: of each part the first marks, and then what differs from those."""

    def __init__(self, path: Path, *, mutants: bool = True) -> None:
        self.path = path
        self.first: dict[str, Marks] = {}
        self.done: dict[str, dict[int, Marks]] = {PLAIN: {}, TRAINED: {}, WALLED: {}}
        self.seconds: dict[str, list[float]] = {PLAIN: [], TRAINED: [], WALLED: []}
        part = "" if mutants else "without mutants"
        key = Keys(Job("", Settings(), 0), versions()).key(part, "")
        if path.exists():
            head, *lines = path.read_text(encoding="utf-8").split("\n")[:-1]
            if json.loads(head) != key:
                raise click.ClickException(
                    f"{path} is of another version, or of a run with other mutants: name another "
                    "file."
                )
            for line in lines:
                self._take(*json.loads(line))
        else:
            path.write_text(json.dumps(key) + "\n", encoding="utf-8")

    def add(self, what: str, index: int, seconds: float, marks: Marks) -> int:
        """Keeps the marks under a seed, and returns how many differ from the first."""
        first = self.first.get(what, {})
        differs = {name: mark for name, mark in marks.items() if mark != first.get(name)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([what, index, seconds, differs]) + "\n")
        self._take(what, index, seconds, differs)
        return len(self.done[what][index])

    def _take(self, what: str, index: int, seconds: float, differs: Marks) -> None:
        self.seconds[what].append(seconds)
        if what not in self.first:
            self.first[what], differs = differs, {}
        self.done[what][index] = differs

    def odd(self, what: str) -> Iterator[tuple[str, int, str, str]]:
        """Each submission and seed with another mark than most, that mark, and the usual one."""
        names = {name for differs in self.done[what].values() for name in differs}
        for name in sorted(names):
            usual = self.first[what].get(name, "")
            found = {index: each.get(name, usual) for index, each in self.done[what].items()}
            most, _ = Counter(found.values()).most_common(1)[0]
            for index, mark in sorted(found.items()):
                if mark != most:
                    yield name, seed_number(index), mark, most

    def table(self) -> Iterator[str]:
        """What came out, as Markdown."""
        yield "| | submissions | seeds | marks that differ | seconds a seed |"
        yield "| --- | --- | --- | --- | --- |"
        for what, done in self.done.items():
            if done:
                odd = sum(1 for _ in self.odd(what))
                mean = sum(self.seconds[what]) / len(done)
                yield f"| {what} | {len(self.first[what])} | {len(done)} | {odd} | {mean:.1f} |"


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--seeds", type=click.IntRange(min=0), default=1000, help="How many, untrained.")
@click.option("--trained", type=click.IntRange(min=0), default=50, help="How many, with training.")
@click.option("--walled", type=click.IntRange(min=0), default=5, help="How many, behind the wall.")
@click.option("--start", type=click.IntRange(min=0), default=0, help="The number of the first.")
@click.option("--mutants/--no-mutants", default=True, help="Whether mutants are judged too.")
@click.option("--workers", type=click.IntRange(min=1), default=2)
def main(
    out: Path, seeds: int, trained: int, walled: int, start: int, mutants: bool, workers: int
) -> None:
    """Judges everything under many seeds, and lists every mark that differs from the usual one.

    Exit code 0: no mark differs; 1: some do.
    """
    kept = Kept(out, mutants=mutants)
    wanted = [(PLAIN, start + n) for n in range(seeds)]
    wanted += [(TRAINED, start + n) for n in range(trained)]
    todo = [(what, index) for what, index in wanted if index not in kept.done[what]]
    if todo:
        # Each seed makes thousands of classes: processes are replaced before they grow. A
        # ProcessPoolExecutor of Python 3.11 can wait for ever for one that it has replaced.
        with get_context("spawn").Pool(workers, prepare, maxtasksperchild=20) as pool:
            jobs = ((index, what, mutants) for what, index in todo)
            for what, index, seconds, marks in pool.imap_unordered(_judged, jobs):
                _say(kept, what, index, seconds, marks)
    left = [start + n for n in range(walled) if start + n not in kept.done[WALLED]]
    if left:
        with Zygote() as zygote:
            for index in left:
                _say(kept, WALLED, *judged_walled(index, zygote))
    for line in kept.table():
        click.echo(line)
    odd = [(what, *each) for what in kept.done for each in kept.odd(what)]
    for what, name, seed, mark, usual in odd:
        click.echo(f"{name}, seed {seed}, {what}: {mark}; else {usual}")
    sys.exit(1 if odd else 0)


def _say(kept: Kept, what: str, index: int, seconds: float, marks: Marks) -> None:
    differ = kept.add(what, index, seconds, marks)
    click.echo(
        f"{what}: {len(kept.done[what])} seeds done; {seconds:.1f} s, {differ} marks differ",
        err=True,
    )


if __name__ == "__main__":
    main()
