"""Check that the stages work together in torch's graph, from the cost to every parameter."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from harness.candidate.glue import run_links
from harness.candidate.operations import Value
from harness.cases.cases import TRIES, Case, cached, generator_for, sizes_for
from harness.cases.compare import VALUES, Tolerance, difference
from harness.cases.kinks import REFUSALS
from harness.causes.explaining import Call
from harness.course.inputs import Sizes, is_real_tensor
from harness.course.network import Network, by_itself
from harness.course.shapes import MISFITS, reference, sizes_of, values_for
from harness.course.stage import Stage
from harness.language import tr
from harness.probes.context import Errored, Failed, StageContext, for_staff, in_words
from harness.probes.proxy import StageTrouble, proxy

# VALUES leave room for float32, of which a sample takes a part only.
STEADY = Tolerance(VALUES.relative / 4, VALUES.room / 4)
# Larger networks are not tried with every stage in float32.
MOST_LINKS, MOST_NUMBERS = 16, 4_000

Gradients = dict[str, Tensor]
Functions = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True, eq=False)
class ChainCase:
    """Values for the arguments of a network, and the weights of its ends in the cost, if any."""

    network: Network
    leaves: Mapping[str, Value]
    weights: Mapping[str, Tensor]

    def gradients(self, stand_ins: Functions) -> Gradients:
        """Return ∂C/∂x for every argument x; targets and constants have none.

        The functions stand in for some of the stages, references for the others.
        """
        functions = {stage.name: reference(stage) for stage in self.network.stages}
        leaves = {
            name: value.clone() if isinstance(value, Tensor) else value
            for name, value in self.leaves.items()
        }
        wrt: Gradients = {
            name: value.requires_grad_()
            for name, value in leaves.items()
            if isinstance(value, Tensor) and is_real_tensor(value)
            if not self.network.is_constant(name)
        }
        values: dict[str, Any] = {**self.network.given, **leaves}
        run_links(self.network.links, {**functions, **stand_ins}, values)
        found = torch.autograd.grad(
            self._cost(values), list(wrt.values()), allow_unused=True, materialize_grads=True
        )
        return dict(zip(wrt, found, strict=True))

    def _cost(self, values: Mapping[str, Any]) -> Tensor:
        if not self.network.is_alone:
            cost: Tensor = values[self.network.ends[0]]
            return cost
        parts = ((values[name] * weight).sum() for name, weight in self.weights.items())
        return sum(parts, torch.zeros((), dtype=torch.float64))

    def is_steady(self, right: Gradients) -> bool:
        """Return whether any one stage could work in float32 with little effect on a gradient."""
        numbers = sum(value.numel() for value in right.values())
        if len(self.network.links) > MOST_LINKS or numbers > MOST_NUMBERS:
            return True
        ways = product(sorted({link.stage for _, link, _ in self.network.uses}), (True, False))
        return all(
            difference(gradient, right[leaf], STEADY, size=_largest(right[leaf])) is None
            for stage, stays in ways
            for leaf, gradient in self._with_float32(self.network.stage[stage], stays).items()
        )

    def _with_float32(self, stage: Stage, stays: bool) -> Gradients:
        """Return the gradients with a stage in float32, whose outputs ``stay`` so.

        They are empty if the other stages refuse it.
        """
        forward = reference(stage)

        def rounded(*values: Value) -> Any:
            outputs = forward(*(_to(each, torch.float32) for each in values))
            return outputs if stays else _each(outputs, torch.float64)

        with suppress(*REFUSALS):
            return self.gradients({stage.name: rounded})
        return {}


@cached
def chain_case(network: Network, seed: int, sizes: Sizes) -> tuple[ChainCase, Gradients]:
    """Return values for a network, and ∂C/∂x for each argument x by the references alone.

    They are drawn again while rounding to float32 changes a gradient: a student's would too.
    """
    for attempt in range(TRIES):

        def generator(stage: str, use: int, attempt: int = attempt) -> torch.Generator:
            return generator_for(seed, "chain", stage, attempt, *([use] if use else []))

        leaves, values = values_for(network, sizes, generator)
        weights = {
            name: torch.randn(
                values[name].shape, generator=generator(name, -1), dtype=torch.float64
            )
            for name in network.ends
            if is_real_tensor(values[name])
        }
        case = ChainCase(network, leaves, weights)
        right = case.gradients({})
        if case.is_steady(right):
            break
    return case, right


def recorded_chain(network: Network, case: Case) -> tuple[ChainCase, Gradients]:
    """Return a recorded case of a stage as one of the network that it is by itself."""
    gradients = zip(network.arguments, case.gradients[0], strict=True)
    weights = zip(network.ends, case.upstreams[0], strict=True)
    return (
        ChainCase(
            network,
            dict(zip(network.arguments, case.inputs, strict=True)),
            {name: each for name, each in weights if each is not None},
        ),
        {name: each for name, each in gradients if each is not None},
    )


def judge_chain(
    network: Network | None, contexts: Mapping[str, StageContext], students: Collection[str]
) -> None:
    """Raise Failed unless ∂C/∂x is right for every argument x.

    ``students`` names the stages that are the student's; references stand in for the others. One
    that stands in no network is tried by itself.
    """
    context = contexts[next(iter(students))]
    for alone, sizes in _networks(network, context):
        _judge_one(alone, sizes, contexts, students)


def _networks(network: Network | None, context: StageContext) -> Iterator[tuple[Network, Sizes]]:
    """Yield the network in which a stage stands, or the stage by itself with every choice."""
    stage = context.stage
    if network and stage.name in network.linked:
        yield network, sizes_for("chain", context.seed, stage, sizes_of(network))[0]
        return
    for sizes in context.sizes_for("chain"):
        count = next((sizes[name] for name in sizes if name.endswith("*")), 1)
        yield by_itself(stage, count), sizes


def _judge_one(
    network: Network,
    sizes: Sizes,
    contexts: Mapping[str, StageContext],
    students: Collection[str],
) -> None:
    context = contexts[next(iter(students))]
    stage, seed = context.stage, context.seed
    if stage.recorded:
        case, right = recorded_chain(network, stage.recorded.cases("cases_for")[1])
    else:
        case, right = chain_case(network, seed, sizes)
    who = context.stage.name if len(students) == 1 else tr("The chain of your stages")
    facts = {"seed": seed, **sizes}
    stopped = tr("{who} did not run in the chain: ").format(who=who)
    try:
        got = case.gradients({name: _students(contexts[name]) for name in students})
    except StageTrouble as trouble:
        at, phase = contexts[trouble.stage].stage, trouble.phase
        what = at.forward_name if phase == "forward" else at.backward_name
        said, detail = in_words(what, trouble.trouble, Call(at, phase, sizes))
        staff = for_staff(trouble.trouble)
        raise Errored(stopped + said, detail, staff=staff, case=facts) from None
    except MISFITS as refusal:
        where = tr("{stopped}torch's engine refused it.").format(stopped=stopped)
        said = tr("torch says: {refusal}").format(refusal=refusal)
        raise Failed(where, said, staff=str(refusal), case=facts) from None
    for name, gradient in got.items():
        if off := difference(gradient, right[name], VALUES, size=_largest(right[name])):
            raise Failed(
                tr("In the chain, ∂C/∂{name} is wrong when {who} computes it.").format(
                    name=name, who=who
                ),
                staff=f"{name}{off.at} is {off.got!r}, not {off.right!r}",
                case=facts,
                got=off.got,
            )


def _students(context: StageContext) -> Callable[..., Any]:
    """Return a student's stage in double precision, which is a check of its own."""
    stage = context.stage
    in_double, outputs = context.mixed is not None, len(stage.outputs)
    apply = proxy(context.candidate, stage.name, context.handles, outputs, in_double=in_double)

    def applied(*inputs: Value) -> Any:
        return _each(apply(*inputs), torch.float64)

    return applied


def _each(outputs: Any, dtype: torch.dtype) -> Any:
    """Return one output, or each of several, in a precision."""
    if isinstance(outputs, tuple):
        return tuple(_to(each, dtype) for each in outputs)
    return _to(outputs, dtype)


def _to(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if is_real_tensor(value) else value


def _largest(values: Tensor) -> float:
    return float(values.abs().max())
