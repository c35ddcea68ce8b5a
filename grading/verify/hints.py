"""Hints as cases: who undoes what the hint of a known mistake names must get full marks.

What is undone is the formula that the judge has read from the mutant, by the repair of the mistake
that it has named; the forward is the one that was handed out.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache, partial
from itertools import combinations, permutations

import torch
from torch import Tensor

from grading.verify.case import Case, Solution
from grading.verify.optimizers import class_text
from grading.verify.pairs import around
from grading.verify.verdicts import Verdict
from grading.verify.writing import asks_solution, stage_text
from harness.course.assignment import Assignment
from harness.course.report import Diagnosis
from harness.course.stage import Mistake, Stage
from harness.formulas.known import NamedFormula, known_formulas
from harness.formulas.pairs import joined
from harness.formulas.same import generic_cases, same_as_true, value_of
from harness.mistakes import mistakes_in
from harness.mistakes.repairs import repaired
from harness.updates.edits import mistakes_of

# At how many points two mistakes are told from others.
POINTS = 4


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


def hints_of_pairs(stage: Stage, solution: Solution) -> Iterator[Case]:
    """Yield the pairs of known mistakes that can be told, with both repairs made."""
    repairs = {each.name: each.repair for each in mistakes_in(stage)}
    made = cache(partial(_data, stage, solution))
    for name in stage.gradients:
        for one, other, formula in pairs_of(stage, name):
            steps = tuple(repairs[each.mistake].get(name, "") for each in (one, other))
            if all(steps):
                right = undone(stage, name, formula, steps, stage.gradients)
                told = f"hint {stage.slug}/{name}/{one.mistake}+{other.mistake}"
                text = f"∂C/∂{name} = {formula}: {'; '.join(steps)}"
                asks = asks_solution(stage, stage.gradients)
                data = made(((name, right),))
                yield Case(told, "hint", solution.suffix, data, text, stage.slug, delegates=asks)


def _data(stage: Stage, solution: Solution, gradients: tuple[tuple[str, str], ...]) -> bytes:
    return solution.followed_by(around(stage, stage_text(stage, dict(gradients))))


def undone(
    stage: Stage, name: str, formula: str, repairs: Sequence[str], others: Mapping[str, str]
) -> str:
    """Return a formula with repairs made, in the order that leads on; itself if none does."""
    for order in permutations(repairs):
        with suppress(ValueError):
            right = formula
            for steps in order:
                right = repaired(steps, right, others)
            if _is_right(stage, name, right):
                return right
    return formula


@lru_cache(maxsize=4096)
def _is_right(stage: Stage, name: str, formula: str) -> bool:
    if formula == "None":
        return name in stage.optional
    return same_as_true(stage, name, formula) is not None


def pairs_of(stage: Stage, name: str) -> Iterator[tuple[NamedFormula, NamedFormula, str]]:
    """Yield every two known mistakes that can be told in one gradient, and the formula with both.

    That has the values of both, in a product or in a sum, which no mistake has alone. Where the
    gradient is 0, a product cannot tell.
    """
    at, points = stage.position(name), generic_cases(stage)[:POINTS]

    @cache
    def values(text: str) -> Tensor | None:
        found = [value_of(stage, text, each.inputs, each.upstreams[0]) for each in points]
        pairs = zip(found, (each.gradients[0][at] for each in points), strict=True)
        if any(x is None or y is None or x.shape != y.shape for x, y in pairs):
            return None
        return torch.cat([each.flatten() for each in found if each is not None])

    right = values(stage.gradients[name])
    known = [each for each in known_formulas(stage, name) if each.taught and each.is_alone]
    rows = {each.mistake: row for each in known if (row := values(each.expression)) is not None}
    for one, other in combinations([each for each in known if each.mistake in rows], 2):
        text = joined(stage, stage.gradients[name], one.expression, other.expression)
        both = values(text) if text else None
        if both is None or right is None or text is None:
            continue
        first, second = rows[one.mistake], rows[other.mistake]
        product = torch.where(right == 0, both, first * second / right)
        wanted = (product, first + second - right)
        is_known = any(torch.allclose(both, each) for each in (right, *rows.values()))
        if not is_known and any(torch.allclose(both, each) for each in wanted):
            yield one, other, text


def _case(stage: Stage, solution: Solution, mistake: Mistake, read: Sequence[Diagnosis]) -> Case:
    """Return the case for a mistake as it was read, or as it is where nothing was."""
    found = {each.gradient.removeprefix("grad_"): each for each in read}
    every = {each.name: each for each in mistakes_in(stage)}
    wrong = {**stage.gradients, **mistake.gradients}
    right, said = dict(wrong), list[str]()
    for name, formula in mistake.gradients.items():
        diagnosis = found.get(name)
        named = (diagnosis.mistake, *diagnosis.also) if diagnosis else (mistake.name,)
        known = [every[each] for each in named if each in every and name in every[each].repair]
        steps = [each.repair[name] for each in known]
        # What was read may be a simpler form, in which a step finds nothing: N for ones.sum(0).
        texts = [diagnosis.formula] if diagnosis else []
        texts += [formula, *(each.gradients[name] for each in known if len(named) == 1)]
        for text in texts:
            right[name] = undone(stage, name, text, steps, wrong)
            if right[name] != text:
                break
        said.append(f"∂C/∂{name} = {formula}: {'; '.join(steps) or 'nothing'}")
    name, text = f"hint {stage.slug}/{mistake.name}", "; ".join(said)
    data = _data(stage, solution, tuple(right.items()))
    asks = asks_solution(stage, right)
    return Case(name, "hint", solution.suffix, data, text, stage.slug, delegates=asks)
