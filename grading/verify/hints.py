"""Hints as cases: who undoes what the hint of a known mistake names must get full marks.

What is undone is the formula that the judge has read from the mutant, by the repair of the mistake
that it has named; the forward is the one that was handed out.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from grading.verify.case import Case, Solution
from grading.verify.optimizers import class_text
from grading.verify.pairs import around
from grading.verify.verdicts import Verdict
from grading.verify.writing import stage_text
from harness.course.assignment import Assignment
from harness.course.report import Diagnosis
from harness.course.stage import Mistake, Stage
from harness.mistakes import mistakes_in
from harness.mistakes.repairs import repaired
from harness.updates.edits import mistakes_of


def hints_of(
    assignment: Assignment, solution: Solution, verdicts: Sequence[Verdict]
) -> Iterator[Case]:
    """Yield a case for the hint of each mistake that has a repair, given its mutant's verdict."""
    on = {each.case.name: each for each in verdicts}
    yield from _of_optimizers(assignment, solution, on)
    for stage in assignment.stages:
        for mistake in mistakes_in(stage):
            verdict = on.get(f"mistake {stage.slug}/{mistake.name}")
            if verdict and mistake.repair:
                yield _case(stage, solution, mistake, verdict.read)


def _of_optimizers(
    assignment: Assignment, solution: Solution, on: Mapping[str, Verdict]
) -> Iterator[Case]:
    """Yield the rules that were read without the edits that were named: what is left is right."""
    for optimizer in assignment.optimizers:
        every = mistakes_of(optimizer)
        known = {(str(each.rule), "+".join(each.names)) for each in every}
        for number, wrong in enumerate(every, start=1):
            name = f"{optimizer.slug}/{number:03} {wrong.names[0]}"
            verdict = on.get(f"mistake {name}")
            for each in verdict.read[:1] if verdict else ():
                is_known = (each.formula, each.mistake) in known
                rule = optimizer.rule if is_known and optimizer.rule else wrong.rule
                data = solution.followed_by(class_text(optimizer, rule))
                text = f"{each.formula}: leave out {each.mistake}"
                yield Case(f"hint {name}", "hint", solution.suffix, data, text, optimizer.slug)


def _case(stage: Stage, solution: Solution, mistake: Mistake, read: Sequence[Diagnosis]) -> Case:
    """Return the case for a mistake as it was read, or as it is where nothing was."""
    found = {each.gradient.removeprefix("grad_"): each for each in read}
    known = {each.name: each for each in mistakes_in(stage)}
    wrong = {**stage.gradients, **mistake.gradients}
    right, said = dict(wrong), list[str]()
    for name, formula in mistake.gradients.items():
        diagnosis = found.get(name)
        named = known.get(diagnosis.mistake) if diagnosis else mistake
        steps = named.repair.get(name, "") if named else ""
        right[name] = formula
        # What was read may be a simpler form, in which a step finds nothing.
        for text in (*([diagnosis.formula] if diagnosis else []), formula):
            with suppress(ValueError):
                right[name] = repaired(steps, text, wrong)
                break
        said.append(f"∂C/∂{name} = {formula}: {steps or 'nothing'}")
    data = solution.followed_by(around(stage, stage_text(stage, right)))
    name, text = f"hint {stage.slug}/{mistake.name}", "; ".join(said)
    return Case(name, "hint", solution.suffix, data, text, stage.slug)
