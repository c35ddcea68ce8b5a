"""All checks of an assignment in the order they run, with what each waits for and is worth."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import count

from harness.candidate.operations import Candidate
from harness.course.assignment import Assignment
from harness.course.settings import Settings, SettingsError
from harness.course.stage import Stage
from harness.probes import robustness as manners
from harness.probes.chain import ChainBench, all_stages, one_stage
from harness.probes.context import Bench
from harness.probes.forward import forward
from harness.probes.gradient import gradient
from harness.probes.special import special
from harness.probes.training import training
from harness.training.task import Run, train_reference


class Trial:
    """One candidate on trial in one assignment: a bench for each stage, and the chain.

    ``first`` is another trial, whose answers about the public examples count in this one too.
    """

    def __init__(
        self, assignment: Assignment, candidate: Candidate, seed: int, first: Trial | None = None
    ) -> None:
        self.assignment = assignment
        self.candidate = candidate
        self.seed = seed
        self.run: Run | None = None
        self.reference: Run | None = None
        self.handles: Iterator[int] = first.handles if first else count(1)
        self.benches: dict[str, Bench] = {
            stage.name: Bench(
                stage,
                candidate,
                seed,
                assignment.sizes,
                self.handles,
                first=first.benches[stage.name] if first else None,
            )
            for stage in assignment.stages
        }

    @cached_property
    def chain(self) -> ChainBench:
        """The benches, linked as the assignment says."""
        return ChainBench(self.benches, self.assignment.chain)

    def train(self) -> None:
        """Runs the training probe and keeps its run, with the one it is held against."""
        stages = tuple((stage.name, stage.forward) for stage in self.assignment.stages)
        self.run = training(self.assignment.task, self.candidate, stages)
        self.reference = train_reference(self.assignment.task, stages)


@dataclass(frozen=True)
class Planned:
    """A check to make. ``needs`` are checks that must pass first.

    ``credit`` are checks of which one must pass for this one to count: what the handout gives
    away (the forward), or asks no work (None for a target), is worth nothing by itself.
    """

    id: str
    stage: str | None
    title: str
    max_points: float
    run: Callable[[Trial], None]
    needs: tuple[str, ...] = ()
    credit: tuple[str, ...] = ()


def plan(assignment: Assignment, settings: Settings) -> tuple[Planned, ...]:
    """The checks of the assignment, in order.

    Raises SettingsError where the settings give points to a check that does not exist.
    """
    checks = [check for stage in assignment.stages for check in _of_stage(assignment, stage)]
    checks += _of_chain(assignment, checks)
    unknown = sorted(set(settings.points) - {check.id for check in checks})
    if unknown:
        known = ", ".join(check.id for check in checks)
        raise SettingsError(f"no check is called {unknown[0]!r}; the checks are {known}.")
    worth = {**_shares(checks, settings), **settings.points}
    return tuple(
        replace(check, max_points=worth.get(check.id, check.max_points)) for check in checks
    )


# The checks that the points of ``special`` are taken from, in equal parts.
GIVERS = ("precision", "purity")


def _shares(checks: list[Planned], settings: Settings) -> dict[str, float]:
    """The points of each stage's special values where the settings name those of a giver.

    Its part is not taken then: the total stays as it was before there was this check.
    """
    return {
        check.id: check.max_points * sum(giver not in settings.points for giver in givers) / 2
        for check in checks
        if check.id.endswith("/special")
        for givers in ([check.id.replace("/special", f"/{each}") for each in GIVERS],)
    }


def _of_stage(assignment: Assignment, stage: Stage) -> Iterator[Planned]:
    required = tuple(f"{stage.slug}/gradient/{name}" for name in stage.required)

    def planned(
        id: str,
        probe: Callable[[Bench], None],
        points: float,
        *,
        needs: tuple[str, ...] = (),
        credit: tuple[str, ...] = (),
        **words: str,
    ) -> Planned:
        title = title_of(probe).format(stage=stage.name, formula=stage.formula, **words)
        run = partial(_at_bench, stage.name, probe)
        return Planned(f"{stage.slug}/{id}", stage.name, title, points, run, needs, credit)

    worth = assignment.points
    yield planned("forward", forward, worth.get("forward", 0.0), credit=required)
    for name in stage.inputs:
        yield planned(
            f"gradient/{name}",
            partial(gradient, name=name),
            stage.points.get(name, 0.0),
            credit=required if name in stage.optional else (),
            input=name,
        )
    for id, probe in _manners(stage):
        needs = required
        if id == "stability":
            needs = (*required, f"{stage.slug}/forward", f"{stage.slug}/precision")
        yield planned(id, probe, worth.get(id, 0.0), needs=needs)


def _manners(stage: Stage) -> Iterator[tuple[str, Callable[[Bench], None]]]:
    yield "precision", manners.precision
    if stage.extremes:
        yield "stability", manners.stability
    yield "special", special
    yield "purity", manners.purity
    yield "memory", manners.memory
    if not stage.is_scalar:
        yield "layout", manners.layout
    if len(stage.inputs) > 1:
        yield "subsets", manners.subsets


def _of_chain(assignment: Assignment, checks: list[Planned]) -> Iterator[Planned]:
    """Chain checks need what the chain uses: forward and required gradients, not a target's."""
    worth = assignment.points
    linked = {link.stage for link in assignment.chain}
    whole: list[str] = []
    for stage in (each for each in assignment.stages if each.name in linked):
        title = title_of(one_stage).format(stage=stage.name)
        needs = (f"{stage.slug}/forward", *(f"{stage.slug}/gradient/{x}" for x in stage.required))
        run = partial(_in_chain, partial(one_stage, stage=stage.name))
        id = f"chain/{stage.slug}"
        yield Planned(id, None, title, worth.get("chain", 0.0), run, needs)
        whole += [*needs, id]
    title = title_of(all_stages)
    run = partial(_in_chain, all_stages)
    id = "chain/whole"
    yield Planned(id, None, title, worth.get(id, 0.0), run, tuple(whole))
    # A network uses each stage once a layer: calls that disturb each other cannot train.
    memories = (check.id for check in checks if check.id.endswith("/memory"))
    title = title_of(training).format(name=assignment.task.name)
    needs = ("chain/whole", *memories)
    yield Planned("training", None, title, worth.get("training", 0.0), Trial.train, needs)


def title_of(probe: Callable[..., object]) -> str:
    """A probe's docstring: the title a student reads."""
    while isinstance(probe, partial):
        probe = probe.func
    return inspect.getdoc(probe) or ""


def _at_bench(stage: str, probe: Callable[[Bench], None], trial: Trial) -> None:
    probe(trial.benches[stage])


def _in_chain(probe: Callable[[ChainBench], None], trial: Trial) -> None:
    probe(trial.chain)
