"""The mutants of an assignment: known mistakes, formulas and sources changed by rule."""

from collections.abc import Iterator
from dataclasses import replace

from grading.confined.source import read_source
from grading.sandbox import Spawner
from grading.sandbox.remote import RemoteCandidate
from grading.verify.behaviour import same_behaviour
from grading.verify.case import Case, Kind, Solution
from grading.verify.rewrites import rewrites_of
from grading.verify.writing import stage_text
from harness.course.assignment import Assignment
from harness.course.settings import Limits
from harness.course.stage import Mistake, Stage
from harness.formulas.same import same_as_true
from harness.formulas.variants import variants_of
from harness.mistakes import mistakes_in


def mutants_of(
    assignment: Assignment, solution: Solution, spawner: Spawner, limits: Limits
) -> Iterator[Case]:
    """Yield all mutants, stage by stage; changed sources run in children of ``spawner``."""
    classes = solution.classes()
    for stage in assignment.stages:
        yield from mistakes_of(stage, solution)
        yield from formulas_of(stage, solution)
        if stage.name in classes:
            yield from sources_of(stage, solution, spawner, limits)


def mistakes_of(stage: Stage, solution: Solution) -> Iterator[Case]:
    """Yield a mutant for each mistake known for the stage."""
    for mistake in mistakes_in(stage):
        code = stage_text(stage, mistake.gradients, forward=mistake.forward, code=mistake.code)
        mutant = _mutant(stage, solution, "mistake", mistake.name, code)
        yield replace(mutant, text=_described(mistake), claims=claims_of(stage, mistake))


def formulas_of(stage: Stage, solution: Solution) -> Iterator[Case]:
    """Yield a mutant for each formula near a true gradient, with whether its value is the same."""
    for name in stage.differentiable:
        for number, variant in enumerate(variants_of(stage, name), start=1):
            code = stage_text(stage, {name: variant.expression})
            yield replace(
                _mutant(stage, solution, "formula", f"{name}/{number:03}", code),
                text=f"{variant.expression}  ({variant.how})",
                claims=(f"{stage.slug}/gradient/{name}",),
                same=same_as_true(stage, name, variant.expression),
            )


def sources_of(
    stage: Stage, solution: Solution, spawner: Spawner, limits: Limits
) -> Iterator[Case]:
    """Yield a mutant for each change to the solution's class, with whether it does the same."""
    rewrites = rewrites_of(solution.classes()[stage.name], shaped=not stage.is_scalar)
    for number, rewrite in enumerate(rewrites, start=1):
        mutant = _mutant(stage, solution, "source", f"{number:03}", rewrite.code)
        with RemoteCandidate(spawner, read_source(solution.name, mutant.data), limits) as remote:
            same = same_behaviour(stage, remote)
        why = "the same values at generic points" if same else None
        yield replace(mutant, text=rewrite.how, same=why)


def claims_of(stage: Stage, mistake: Mistake) -> tuple[str, ...]:
    """Return the ids of the checks that a mistake must fail, none if any check of the stage may."""
    ids: list[str] = []
    for check in mistake.rejected_by:
        if check == "*":
            continue
        if check == "gradient/*":
            ids += [f"{stage.slug}/gradient/{name}" for name in stage.differentiable]
        else:
            ids.append(check if check == "training" else f"{stage.slug}/{check}")
    return tuple(ids)


def _mutant(stage: Stage, solution: Solution, kind: Kind, name: str, code: str) -> Case:
    data = solution.followed_by(code)
    return Case(f"{kind} {stage.slug}/{name}", kind, solution.suffix, data, stage=stage.slug)


def _described(mistake: Mistake) -> str:
    said = [f"∂C/∂{name} = {expression}" for name, expression in mistake.gradients.items()]
    if mistake.forward:
        said.insert(0, f"forward: {mistake.forward}")
    return "; ".join(said) or "in its code"
