"""Check an optimizer by what it does to parameters, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from itertools import accumulate, count, zip_longest
from typing import Any, NoReturn

import torch
from torch import Tensor

from harness.candidate import operations as ops
from harness.cases.cases import generator_for, largest
from harness.cases.compare import EPSILON, Tolerance, difference
from harness.causes.explaining import Call
from harness.course.numbers import number, numbers, shape
from harness.language import tr
from harness.probes.context import Errored, Failed, for_staff, in_words
from harness.updates.drawing import drawn
from harness.updates.edits import conventions_of, hint_of
from harness.updates.optimizer import Optimizer
from harness.updates.recorded import Path, RecordedSteps
from harness.updates.rule import Rule
from harness.updates.trajectory import Step, Trajectory

# Relative to how far the parameters have moved in all.
VALUES, PRECISION, SINGLE = Tolerance(1e-6, 1e-6), Tolerance(1e-9, 1e-9), Tolerance(1e-3, 1e-4)
# Entries of a parameter are no more exact than some roundings of it.
ROUNDINGS = 64 * EPSILON
# After so many steps tensors are counted; so many may have come, as state that each step replaces.
MANY, SPARE = 500, 50
ONE, TWO, THREE = ((3, 2),), ((3, 2), (3, 2)), ((3, 2), (4,), (3, 2))
# In two groups of several, and of different lengths.
FIVE = ((3, 2),) * 5
# Of gradients far larger and smaller than usual: some clip them, or guard against a zero.
SCALES = (1e3, 1e-5)


@dataclass(frozen=True, eq=False)
class Ran:
    """What a student's optimizer answered to a trajectory: its making, and each step."""

    trajectory: Trajectory
    built: ops.Reply
    steps: tuple[ops.Reply, ...]


@dataclass
class OptimizerContext:
    """One optimizer of one candidate."""

    optimizer: Optimizer
    candidate: ops.Candidate
    seed: int
    handles: Iterator[int] = field(default_factory=lambda: count(1))
    advice: list[str] = field(default_factory=list)
    # What was answered to the trajectories of each check.
    answers: dict[str, list[Ran]] = field(default_factory=dict)

    def drawn(self, purpose: str, *shapes: tuple[int, ...], **how: Any) -> Trajectory:
        """Return a trajectory that the seed chooses for a purpose."""
        return _drawn(self.optimizer, self.seed, purpose, shapes or ONE, tuple(how.items()))

    @cached_property
    def example(self) -> Ran:
        """The first trajectory, from which the rule that was written is read."""
        return self.run("example", [self.drawn("update/0")])[0]

    def run(self, check: str, trajectories: Sequence[Trajectory]) -> list[Ran]:
        """Return the answers to the trajectories of a check, whose steps take turns."""
        builds = [self.build(each) for each in trajectories]
        scripts = [
            [
                ops.Step(build.handle, step.gradients, step.settings, step.times)
                for step in each.steps
            ]
            for build, each in zip(builds, trajectories, strict=True)
        ]
        turns = [each for turn in zip_longest(*scripts) for each in turn if each is not None]
        replies = self.candidate.perform([*builds, *turns])
        made, moved = replies[: len(builds)], replies[len(builds) :]
        steps: dict[int, list[ops.Reply]] = {build.handle: [] for build in builds}
        for step, reply in zip(turns, moved, strict=True):
            steps[step.handle].append(reply)
        self.answers[check] = [
            Ran(trajectory, built, tuple(each))
            for trajectory, built, each in zip(trajectories, made, steps.values(), strict=True)
        ]
        return self.answers[check]

    def build(self, trajectory: Trajectory) -> ops.Build:
        """Return the operation that makes the optimizer for a trajectory."""
        start, groups, settings = trajectory.start, trajectory.groups, trajectory.settings
        return ops.Build(next(self.handles), self.optimizer.name, start, groups, settings)

    def advise(self, text: str) -> None:
        """Add advice, once."""
        if text not in self.advice:
            self.advice.append(text)

    def fail(self, trouble: ops.Trouble, phase: str) -> NoReturn:
        """Raise the failure of a check that could not be answered."""
        call = Call(phase=phase.removeprefix("."))
        said, detail = in_words(f"{self.optimizer.name}{phase}", trouble, call)
        kind = Failed if isinstance(trouble, ops.Absent) else Errored
        raise kind(said, detail, staff=for_staff(trouble), case={"seed": self.seed})

    def failed(self, where: str, detail: str = "", got: float | None = None) -> Failed:
        """Return the failure of a check."""
        staff = f"{where} {detail}".strip()
        return Failed(where, detail, staff=staff, case={"seed": self.seed}, got=got)


# Made once for all candidates: where they lead is kept with them.
@lru_cache(maxsize=256)
def _drawn(
    optimizer: Optimizer,
    seed: int,
    purpose: str,
    shapes: tuple[tuple[int, ...], ...],
    how: tuple[tuple[str, Any], ...],
) -> Trajectory:
    generator = generator_for(seed, "optimizer", optimizer.name, purpose)
    return replace(drawn(optimizer, generator, shapes, **dict(how)), name=purpose)


def update(context: OptimizerContext) -> None:
    """Check that one parameter moves as it should, for every try, with two epsilons."""
    _hold(context, [context.example], VALUES)
    count = len(context.optimizer.tries)
    purposes = [(at, large) for at in range(count) for large in (True, False)]
    others = [
        context.drawn(f"update/{1 + number}", at=at, large=large)
        for number, (at, large) in enumerate(purposes)
    ]
    others += [context.drawn(f"update/{each:g}", scale=each, large=False) for each in SCALES]
    where = tr("With another optimizer, after a first one that goes the right way: ")
    _hold(context, context.run("update", others), VALUES, where)


def settings(context: OptimizerContext) -> None:
    """Check that each group has its own hyperparameters, and that they can change on the way."""
    ran = context.run("settings", [context.drawn("settings", *FIVE, groups=2)])
    detail = tr("Does step() read the hyperparameters of the group that it works on, at each step?")
    _hold(
        context,
        ran,
        VALUES,
        tr("Two groups have settings of their own, and the rate changes: "),
        detail,
    )


def state(context: OptimizerContext) -> None:
    """Check that parameters and optimizers do not disturb each other."""
    several = [context.drawn("state/0", *TWO), context.drawn("state/1", *THREE, rests=True)]
    detail = tr("Does each parameter have a state of its own, and each optimizer?")
    if (rule := context.optimizer.rule) and not rule.state:
        detail = tr("Does step() do the same with each parameter, and with all of them together?")
    _hold(
        context,
        context.run("state", several),
        VALUES,
        tr("With several parameters in two optimizers: "),
        detail,
    )


def missing(context: OptimizerContext) -> None:
    """Check that a parameter without a gradient stays where it is, and its state too."""
    ran = context.run("missing", [context.drawn("missing", *THREE, absent=True)])
    detail = tr("What does step() do where p.grad is None?")
    _hold(context, ran, VALUES, tr("Some parameters have no gradient for a while: "), detail)


def precision(context: OptimizerContext) -> None:
    """Check nine digits in float64, and that float32 stays float32."""
    _hold(
        context,
        [context.example],
        PRECISION,
        detail=tr(
            "It is accurate to 6 digits, not to 9. Does something convert float64 to float32?"
        ),
    )
    single = _in_float32(context.drawn("precision"))
    (ran,) = context.run("precision", [single])
    _hold(context, [ran], SINGLE, tr("Given float32, "))


def purity(context: OptimizerContext) -> None:
    """Check that the gradients stay, and that the parameters are the same tensors."""
    for step in stepped(context, context.run("purity", [context.drawn("purity")])[0]):
        if not all(step.unchanged):
            raise context.failed(
                tr("step() changes a gradient, p.grad."),
                tr(
                    "Others may read it later. Does step() clear it, or is an operation in place, "
                    "on p.grad or on what `state[…] = p.grad` keeps of it?"
                ),
            )
        if not all(step.kept):
            raise context.failed(
                tr("step() puts another tensor in the place of a parameter."),
                tr(
                    "The network keeps the old one. In-place operations change the parameter "
                    "itself."
                ),
            )
        if not all(step.trainable):
            raise context.failed(
                tr("After step(), a parameter's requires_grad is False."),
                tr("The next backward gives it no gradient. torch.no_grad() does not change it."),
            )


def memory(context: OptimizerContext) -> None:
    """Check that many steps lead where they should, and need no more memory than one."""
    (ran,) = context.run("memory", [_with_many_steps(context.drawn("memory"))])
    where = tr("The first step is repeated {count} times: ").format(count=MANY)
    _hold(context, [ran], SINGLE, where)
    _, many, _ = stepped(context, ran)
    if many.grown > SPARE:
        raise context.failed(
            tr("{count} steps leave {grown} tensors in memory.").format(
                count=MANY, grown=many.grown
            ),
            tr("What does each step keep that the next one does not need?"),
            got=float(many.grown),
        )


@lru_cache(maxsize=256)
def _with_many_steps(trajectory: Trajectory) -> Trajectory:
    """Return a trajectory of two steps whose first is taken many times more in between."""
    first, second, *_ = trajectory.steps
    return replace(trajectory, steps=(first, replace(first, times=MANY), second))


def _in_float32(trajectory: Trajectory) -> Trajectory:
    def single(values: Sequence[Tensor | None]) -> tuple[Any, ...]:
        return tuple(None if each is None else each.float() for each in values)

    steps = tuple(Step(single(each.gradients), each.settings) for each in trajectory.steps)
    return replace(trajectory, start=single(trajectory.start), steps=steps)


def stepped(context: OptimizerContext, ran: Ran) -> list[ops.Stepped]:
    """Return the replies to the steps. Raise Failed or Errored if there are none."""
    if isinstance(ran.built, ops.Trouble):
        context.fail(ran.built, "(params, …)")
    found = []
    for step in ran.steps:
        if isinstance(step, ops.Trouble):
            context.fail(step, ".step")
        assert isinstance(step, ops.Stepped)
        found.append(step)
        # The next step cannot be made with a parameter of another shape or type.
        for at, (got, begin) in enumerate(zip(step.parameters, ran.trajectory.start, strict=True)):
            called = _called(at, step.parameters)
            if (fault := _fault(got, begin, called)) is not None:
                text = tr("After step {step}, {fault}")
                raise context.failed(text.format(step=len(found), fault=fault))
    return found


def _hold(
    context: OptimizerContext,
    ran: Sequence[Ran],
    tolerance: Tolerance,
    where: str = "",
    detail: str = "",
) -> None:
    """Raise Failed unless the parameters are where the reference leads, at every step.

    One of the accepted conventions is as right, all the way.
    """
    first: Failed | None = None
    for hint, way in ways_of(context.optimizer):
        rights = [way(each.trajectory) for each in ran]
        failures = (
            _difference(context, each, stepped(context, each), right, tolerance)
            for each, right in zip(ran, rights, strict=True)
        )
        failed = next((each for each in failures if each), None)
        if failed is None:
            if hint and _matters(context.optimizer, ran, rights):
                context.advise(hint)
            return
        first = first or failed
    assert first
    text = where + first.where
    raise first.restated(text[:1].upper() + text[1:], detail or first.detail)


def ways_of(optimizer: Optimizer) -> list[tuple[str, Callable[[Trajectory], Path]]]:
    """Return how to find where trajectories lead: the reference's way, and conventions' with hints.

    The reference's has no hint.
    """
    if isinstance(like := optimizer.like, RecordedSteps):
        return [(hint, partial(like.path, way=at)) for at, hint in enumerate(like.hints)]
    others = [
        (hint_of(optimizer, each.names), partial(_path, each.rule))
        for each in conventions_of(optimizer)
    ]
    return [("", optimizer.path), *others]


def _path(rule: Rule, trajectory: Trajectory) -> Path:
    return tuple(rule.path(trajectory))


def _matters(optimizer: Optimizer, ran: Sequence[Ran], rights: Sequence[Path]) -> bool:
    """Return whether a convention leads somewhere else than the reference."""
    return any(
        not torch.allclose(one, other, rtol=1e-9, atol=0)
        for each, right in zip(ran, rights, strict=True)
        for ones, others in zip(optimizer.path(each.trajectory), right, strict=True)
        for one, other in zip(ones, others, strict=True)
    )


def _difference(
    context: OptimizerContext,
    ran: Ran,
    moved: Sequence[ops.Stepped],
    right: Sequence[tuple[Tensor, ...]],
    tolerance: Tolerance,
) -> Failed | None:
    """Return the first step that leads elsewhere."""
    trajectory = ran.trajectory
    way = [_moves(trajectory.start, each) for each in right]
    size = [largest(each[at] for each in way) for at in range(len(trajectory.start))]
    taken = accumulate(each.times for each in trajectory.steps)
    for step, reply, values in zip(taken, moved, right, strict=True):
        for at, (got, value) in enumerate(zip(reply.parameters, values, strict=True)):
            called = _called(at, values)
            assert isinstance(got, Tensor)
            begin = trajectory.start[at]
            room = ROUNDINGS * begin.abs() if begin.dtype == torch.float64 else 1e-6 * begin.abs()
            off = difference(
                got.double() - begin, value.double() - begin, tolerance, size=size[at], room=room
            )
            if off is None:
                continue
            now = float(got[off.index])
            told, should = numbers(now, float(value[off.index]))
            return context.failed(
                tr("after step {step}, {called}{at} is {told}, and should be {should}.").format(
                    step=step, called=called, at=off.at, told=told, should=should
                ),
                _circumstances(trajectory, step, at, off.index, called),
                now,
            )
    return None


def _called(at: int, values: Sequence[object]) -> str:
    """Return what a student calls a parameter: p, where there is one."""
    return "p" if len(values) == 1 else tr("parameter {number}").format(number=at + 1)


def _moves(start: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
    return [value - begin for begin, value in zip(start, values, strict=True)]


def _fault(got: ops.Returned, begin: Tensor, called: str) -> str | None:
    """Return what is wrong with a parameter whose values do not matter yet."""
    if not isinstance(got, Tensor):
        kind = got.kind if isinstance(got, ops.Other) else "None"
        return tr("{called} is a {kind}, not a tensor.").format(called=called, kind=kind)
    if got.shape != begin.shape:
        return tr("{called} has shape {got}, and it had {begin}.").format(
            called=called, got=shape(got), begin=shape(begin)
        )
    if got.dtype != begin.dtype:
        names = [str(each.dtype).removeprefix("torch.") for each in (got, begin)]
        return tr("{called} is {now}, and it was {before}.").format(
            called=called, now=names[0], before=names[1]
        )
    return None


def _circumstances(
    trajectory: Trajectory, step: int, at: int, index: tuple[int, ...], called: str
) -> str:
    """Return what led there, of a few steps; of more it would be a long list."""
    gradients = [each.gradients[at] for each in trajectory.steps[:step]]
    given = ", ".join("None" if g is None else number(float(g[index])) for g in gradients)
    settings, _ = next(trajectory.with_settings())
    known = settings[at]
    told = ", ".join(f"{name}={_short(value)}" for name, value in known.items())
    begin = number(float(trajectory.start[at][index]))
    if step > 2:
        return tr("It began at {begin}, with {told}.").format(begin=begin, told=told)
    text = tr("Its gradients were {given}; {called} began at {begin}, with {told}.")
    if step == 1:
        text = tr("Its gradient was {given}; {called} began at {begin}, with {told}.")
    return text.format(given=given, called=called, begin=begin, told=told)


def _short(value: ops.Value) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_short, value))})"
    return number(value) if isinstance(value, float) else repr(value)
