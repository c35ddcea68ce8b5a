"""The mutants of an assignment: known mistakes, formulas and sources changed by rule."""

import re
from collections.abc import Collection, Iterator
from dataclasses import replace

from grading.parsing.source import read_source
from grading.sandbox import Spawner
from grading.sandbox.remote import RemoteCandidate
from grading.verify.behaviour import same_behaviour
from grading.verify.case import Case, Kind, Solution
from grading.verify.detective import detective_mutants
from grading.verify.optimizers import optimizer_mutants
from grading.verify.pairs import around, written_of
from grading.verify.rewrites import rewrites_of
from grading.verify.writing import stage_text
from harness.course.assignment import Assignment
from harness.course.settings import Limits, Settings
from harness.course.stage import Mistake, Stage
from harness.expressions.variants import variants_of
from harness.formulas.same import same_as_true
from harness.mistakes import mistakes_in
from harness.probes import plan

# The checks whose subject `same_behaviour` tries as well.
TRIED = ("forward", "gradient", "purity", "memory", "subsets", "*")
MOST_SOURCES = 500
# How often a training must call a stage to see that it tires, which takes 250 calls in all.
MANY_CALLS = 200


def mutants_of(
    assignment: Assignment, solution: Solution, spawner: Spawner, limits: Limits
) -> Iterator[Case]:
    """Yield all mutants, stage by stage; changed sources run in children of ``spawner``."""
    defined = solution.defined()
    for stage in assignment.stages:
        for mutant in mistakes_of(stage, solution, claimable(assignment, stage)):
            same = None
            if mutant.is_general and all(_kind_of(id) in TRIED for id in mutant.claims):
                same = _same(stage, solution, mutant, spawner, limits)
            yield replace(mutant, same=same)
        yield from formulas_of(stage, solution)
        if written_of(stage, defined):
            yield from sources_of(stage, solution, spawner, limits)
    yield from optimizer_mutants(assignment, solution, spawner, limits, MOST_SOURCES)
    yield from detective_mutants(assignment, solution, spawner, limits)


def claimable(assignment: Assignment, stage: Stage) -> set[str]:
    """Return the checks that a mistake in a stage may fail: the training, if it is long enough."""
    checks = {check.id for check in plan(assignment, Settings())}
    if task := assignment.task:
        uses = sum(link.stage == stage.name for link in task.network(*task.batch(0)).links)
        checks -= {"training"} if task.steps * uses < MANY_CALLS else set()
    return checks


def mistakes_of(stage: Stage, solution: Solution, checks: Collection[str] = ()) -> Iterator[Case]:
    """Yield a mutant for each mistake known for the stage.

    Those that any stage can have are omitted if they claim a check that is not among ``checks``.
    """
    own = {mistake.name for mistake in stage.mistakes}
    for mistake in mistakes_in(stage):
        claims, general = claims_of(stage, mistake), mistake.name not in own
        if general and checks and not set(claims) <= set(checks):
            continue
        code = stage_text(stage, mistake.gradients, forward=mistake.forward, code=mistake.code)
        code = around(stage, code)
        mutant = _mutant(stage, solution, "mistake", mistake.name, code)
        yield replace(mutant, text=_described(mistake), claims=claims, is_general=general)


def formulas_of(stage: Stage, solution: Solution) -> Iterator[Case]:
    """Yield a mutant for each formula near a true gradient, with whether its value is the same."""
    for name in stage.gradients:
        for number, variant in enumerate(variants_of(stage, name), start=1):
            code = around(stage, stage_text(stage, {name: variant.expression}))
            yield replace(
                _mutant(stage, solution, "formula", f"{name}/{number:03}", code),
                text=f"{variant.expression}  ({variant.how})",
                claims=(f"{stage.slug}/gradient/{name}",),
                same=same_as_true(stage, name, _in_effect(stage, variant.expression)),
            )


def _in_effect(stage: Stage, expression: str) -> str:
    """Return what a formula of a gradient gives, where its upstream is 1 and enters later."""
    if stage.has_upstream:
        return expression
    alone = re.sub(r"\bg\b", "ones_like(g)", expression)
    return f"g * ({alone})"


def sources_of(
    stage: Stage, solution: Solution, spawner: Spawner, limits: Limits
) -> Iterator[Case]:
    """Yield a mutant for each change to the solution's class, with whether it does the same.

    Of very many, some are chosen evenly.
    """
    written = written_of(stage, solution.defined())
    rewrites = rewrites_of(written, shaped=not stage.is_scalar) if written else ()
    rewrites = rewrites[:: -(-len(rewrites) // MOST_SOURCES) or 1]
    for number, rewrite in enumerate(rewrites, start=1):
        mutant = _mutant(stage, solution, "source", f"{number:03}", rewrite.code)
        same = _same(stage, solution, mutant, spawner, limits)
        yield replace(mutant, text=rewrite.how, same=same)


def _same(
    stage: Stage, solution: Solution, mutant: Case, spawner: Spawner, limits: Limits
) -> str | None:
    """Return why a mutant is right after all, or None if it is not."""
    pairs = {stage.name: stage.pair} if stage.pair else {}
    source = read_source(solution.name, mutant.data).written_for("", pairs)
    with RemoteCandidate(spawner, source, limits) as remote:
        return "the same values at generic points" if same_behaviour(stage, remote) else None


def _kind_of(check: str) -> str:
    """Return what a check of a stage is about, such as "gradient"."""
    return check.split("/")[1] if "/" in check else check


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
