"""The checks of an assignment in the order they run, their points, and what each waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from harness.candidate.operations import Candidate
from harness.cases.exhibits import DetectiveContext
from harness.course.assignment import Assignment
from harness.course.detective import Detective
from harness.course.settings import Settings, SettingsError
from harness.course.stage import Stage
from harness.errors import did_you_mean
from harness.language import tr
from harness.probes import optimizers, robustness
from harness.probes.chain import judge_chain
from harness.probes.context import StageContext
from harness.probes.detective import exposed, fair, formulas, usable
from harness.probes.forward import forward
from harness.probes.gradient import gradient
from harness.probes.optimizers import OptimizerContext
from harness.probes.points import shared_out
from harness.probes.special import special
from harness.probes.training import train_with, training
from harness.training.task import Run, train_reference
from harness.updates import Optimizer

Probe = Callable[[StageContext], None]
# The checks that the points of ``special`` are taken from, in equal parts.
GIVERS = ("precision", "purity")


class Session:
    """The judging of one candidate in one assignment: a context for each stage, and the chain.

    ``first`` is another session, whose answers about the public examples count in this one too.
    """

    def __init__(
        self, assignment: Assignment, candidate: Candidate, seed: int, first: Session | None = None
    ) -> None:
        self.assignment = assignment
        self.candidate = candidate
        self.run: Run | None = None
        self.reference: Run | None = None
        self.handles: Iterator[int] = first.handles if first else count(1)
        self.contexts: dict[str, StageContext] = {
            stage.name: StageContext(
                stage,
                candidate,
                seed,
                self.handles,
                first.contexts[stage.name] if first else None,
            )
            for stage in assignment.stages
        }
        self.optimizers = {
            each.name: OptimizerContext(each, candidate, seed, self.handles)
            for each in assignment.optimizers
        }
        # Nothing that is asked of them is hidden, and what they answer is looked at once.
        self.detectives: dict[str, DetectiveContext] = (
            first.detectives
            if first
            else {each.name: DetectiveContext(each, candidate) for each in assignment.detectives}
        )

    def train(self) -> None:
        """Run the training probe; keep its run and the reference's if it passes."""
        task = self.assignment.task
        assert task is not None
        stages = tuple((stage.name, stage.forward) for stage in self.assignment.stages)
        reference = train_reference(task, stages)
        self.run, self.reference = training(task, self.candidate, reference), reference


@dataclass(frozen=True)
class Planned:
    """A check to make. ``needs`` are checks that must pass first. What ``run`` returns is told.

    If one of ``after`` has failed, that is why this one fails. At least one of the checks in
    ``credit`` must pass for this one to count: what the handout gives away (the forward), or takes
    no work (None for a target), is worth nothing by itself.
    """

    id: str
    stage: str | None
    title: str
    max_points: float
    run: Callable[[Session], str | None]
    needs: tuple[str, ...] = ()
    credit: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


def plan(assignment: Assignment, settings: Settings) -> tuple[Planned, ...]:
    """Return the checks of the assignment, in order.

    An assignment that declares no points has 10, shared out between them.
    Raise SettingsError if the settings give points to a check that does not exist.
    """
    checks = [check for stage in assignment.stages for check in _of_stage(assignment, stage)]
    checks += _of_chain(assignment, checks)
    checks += [check for each in assignment.optimizers for check in _of_optimizer(assignment, each)]
    checks += [check for each in assignment.detectives for check in _of_detective(assignment, each)]
    if unknown := sorted(set(settings.points) - {check.id for check in checks}):
        ids = [check.id for check in checks]
        near = did_you_mean(unknown[0], ids)
        known = f"the checks are {', '.join(ids)}.{near}"
        raise SettingsError(f"no check is called {unknown[0]!r}; {known}")
    if not (assignment.points or any(stage.points for stage in assignment.stages)):
        # What a target's gradient counts depends on the others.
        forwards = {f"{each.slug}/forward" for each in assignment.stages if each.forward_is_work}
        work = [each for each in checks if "/gradient/" in each.id or each.id in forwards]
        required = [each.id for each in work if not each.credit]
        slugs = [each.slug for each in assignment.optimizers]
        detectives = [each.slug for each in assignment.detectives]
        shares = shared_out([check.id for check in checks], required, slugs, detectives)
        checks = [replace(check, max_points=shares[check.id]) for check in checks]
    worth = {**_shares(checks, settings), **settings.points}
    return tuple(
        replace(check, max_points=worth.get(check.id, check.max_points)) for check in checks
    )


def _shares(checks: list[Planned], settings: Settings) -> dict[str, float]:
    """Return the points of each stage's ``special`` where the settings name those of a giver.

    The giver's part is not taken then: the total stays as it was before this check existed.
    """
    return {
        check.id: check.max_points * sum(giver not in settings.points for giver in givers) / 2
        for check in checks
        if check.id.endswith("/special")
        for givers in ([check.id.replace("/special", f"/{each}") for each in GIVERS],)
    }


def _of_stage(assignment: Assignment, stage: Stage) -> Iterator[Planned]:
    required = tuple(f"{stage.slug}/gradient/{name}" for name in stage.required)
    exact = (*required, f"{stage.slug}/forward", f"{stage.slug}/precision")

    def planned(
        id: str, title: str, probe: Probe, needs: tuple[str, ...] = (), credit: tuple[str, ...] = ()
    ) -> Planned:
        def run(session: Session) -> None:
            probe(session.contexts[stage.name])

        points = assignment.points.get(id, 0.0)
        return Planned(f"{stage.slug}/{id}", stage.name, title, points, run, needs, credit)

    title = tr("forward computes {formula}").format(formula=stage.formula)
    after: tuple[str, ...] = ()
    check = planned("forward", title, forward, credit=required)
    if stage.forward_is_work:
        worth = stage.points.get("forward", max(stage.points.values(), default=0.0))
        check = replace(check, max_points=worth, credit=())
        # Without an upstream there is no cache: gradients are what the function itself returns.
        after = (check.id,) if stage.has_upstream else ()
    yield check
    for name in stage.differentiable:
        credit = required if name in stage.optional else ()
        probe, title = (
            partial(gradient, name=name),
            tr("backward returns ∂C/∂{name}").format(name=name),
        )
        check = planned(f"gradient/{name}", title, probe, credit=credit)
        yield replace(check, max_points=stage.points.get(name, 0.0), after=after)
    title = tr("Forward and backward keep double precision, and work in single precision too")
    yield planned("precision", title, robustness.precision, required)
    if stage.extremes:
        title = tr("Values far from zero give finite, right results")
        yield planned("stability", title, robustness.stability, exact)
    title = tr("Zeros, ones, equal and opposite values give right results")
    yield planned("special", title, special, required)
    title = tr("The inputs and the upstream gradient are left unchanged")
    yield planned("purity", title, robustness.purity, required)
    title = tr("Calls do not disturb each other, and backward can run twice")
    if stage.has_upstream:
        yield planned("memory", title, robustness.memory, required)
    if not stage.is_scalar:
        title = tr("Transposed and expanded tensors give the same gradients")
        title = tr("Transposed matrices give the same gradients") if stage.pair else title
        yield planned("layout", title, robustness.layout, required)
    several = len(stage.differentiable) > 1 or any(each.several for each in stage.inputs.values())
    if several and not stage.pair:
        title = tr("Each input gets its gradient whichever others need one")
        yield planned("subsets", title, robustness.subsets, required)


def _of_chain(assignment: Assignment, checks: list[Planned]) -> Iterator[Planned]:
    """Yield the checks of the chain and of the training.

    They need what the chain uses: forwards and required gradients, not a target's gradient. A stage
    that stands in no network is a chain by itself; without any, it is among the stage's checks.
    """
    worth, network = assignment.points, assignment.network
    linked = network.linked if network else ()
    whole: list[str] = []
    for stage in assignment.stages:
        id, title = (
            f"chain/{stage.slug}",
            tr("{name} works in torch's graph").format(name=stage.name),
        )
        if stage.pair:
            works = "work" if stage.has_upstream else "works"
            title = tr("{parts} {works} in a step of training").format(
                parts=" and ".join(stage.parts), works=works
            )
        if stage.name in linked:
            title = tr("{name} works in the chain, with references for the other stages").format(
                name=stage.name
            )
        needs = (f"{stage.slug}/forward", *(f"{stage.slug}/gradient/{x}" for x in stage.required))
        run = partial(_in_chain, (stage.name,))
        of = None if network else stage.name
        yield Planned(id, of, title, worth.get("chain", 0.0), run, needs)
        if stage.name in linked or not network:
            whole += [*needs, id]
    if network:
        id = "chain/whole"
        title = tr(
            "The whole chain, from {first} back to every parameter, runs on your stages"
        ).format(first=network.ends[0])
        yield Planned(id, None, title, worth.get(id, 0.0), partial(_in_chain, linked), tuple(whole))
        whole = [id]
    if assignment.task is None or (assignment.given and not network):
        return
    # A network uses each stage once a layer: calls that disturb each other cannot train.
    needs = (*whole, *(check.id for check in checks if check.id.endswith("/memory")))
    id, title = (
        "training",
        tr("A network learns {name} with your functions").format(name=assignment.task.name),
    )
    causes = "/precision", "/subsets", "/purity", "/special", "/stability"
    after = tuple(check.id for check in checks if check.id.endswith(causes))
    yield Planned(id, None, title, worth.get(id, 0.0), Session.train, needs, after=after)


_OF_OPTIMIZERS: Mapping[str, tuple[str, Callable[[OptimizerContext], None]]] = {
    "state": (tr("Each parameter and each optimizer has its own state"), optimizers.state),
    "settings": (
        tr("Each group has its own hyperparameters, which can change"),
        optimizers.settings,
    ),
    "missing": (tr("A parameter without a gradient stays where it is"), optimizers.missing),
    "precision": (tr("Steps keep double precision, and work in single too"), optimizers.precision),
    "purity": (tr("Gradients stay, and parameters are changed in place"), optimizers.purity),
    "memory": (tr("Many steps stay right and need no more memory than one"), optimizers.memory),
}


def _of_optimizer(assignment: Assignment, optimizer: Optimizer) -> Iterator[Planned]:
    def planned(
        kind: str, title: str, probe: Callable[[OptimizerContext], None], *needs: str
    ) -> Planned:
        def run(session: Session) -> None:
            probe(session.optimizers[optimizer.name])

        id, worth = f"{optimizer.slug}/{kind}", assignment.points
        points = worth.get(id, worth.get(kind, 0.0))
        return Planned(id, optimizer.name, title, points, run, needs)

    title = tr("step() moves a parameter as {formula} says").format(
        formula=optimizer.formula or optimizer.name
    )
    yield planned("update", title, optimizers.update)
    needs, several = f"{optimizer.slug}/update", f"{optimizer.slug}/state"
    for kind, (title, probe) in _OF_OPTIMIZERS.items():
        more = [several] if kind in ("settings", "missing") else []
        yield planned(kind, title, probe, needs, *more)
    if (task := assignment.task) and assignment.given:
        references = tuple((stage.name, stage.forward) for stage in assignment.given)

        def trains(context: OptimizerContext) -> None:
            train_with(context, task, references)

        title = tr("A network learns {name} with it").format(name=task.name)
        yield planned("training", title, trains, needs, several)


def _of_detective(assignment: Assignment, detective: Detective) -> Iterator[Planned]:
    def planned(
        kind: str,
        title: str,
        probe: Callable[[DetectiveContext], str | None],
        **more: tuple[str, ...],
    ) -> Planned:
        def run(session: Session) -> str | None:
            return probe(session.detectives[detective.name])

        id, worth = f"{detective.slug}/{kind}", assignment.points
        points = worth.get(id, worth.get(kind.partition("/")[0], 0.0))
        return Planned(id, detective.name, title, points, run, **more)

    shown, hidden = (
        [f"{detective.slug}/{kind}/{at}" for at in range(1, count + 1)]
        for kind, count in (("shown", len(detective.shown)), ("hidden", len(detective.hidden)))
    )
    # Harmless cases that expose nothing earn nothing.
    credit = (*shown, *hidden)
    title = tr("There are up to {most} cases, of numbers in the right shapes")
    yield planned("cases", title.format(most=detective.cases), usable, credit=credit)
    title = tr("A right backward passes at each case")
    yield planned("right", title, fair, credit=credit)
    for id, wrong in zip(shown, detective.shown, strict=True):
        title = tr("A case exposes {formulas}").format(formulas=formulas(detective.stage, wrong))
        yield planned(id.partition("/")[2], title, partial(exposed, wrong=wrong, shown=True))
    for at, (id, each) in enumerate(zip(hidden, detective.hidden, strict=True), start=1):
        title = tr("A case exposes the hidden backward {number}").format(number=at)
        yield planned(id.partition("/")[2], title, partial(exposed, wrong=each, shown=False))


def _in_chain(students: tuple[str, ...], session: Session) -> None:
    judge_chain(session.assignment.network, session.contexts, students)
