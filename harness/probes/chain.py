"""Check that the stages work together in torch's graph, from the cost to every parameter."""

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from torch import Tensor

from harness.candidate.operations import Link
from harness.course.inputs import Sizes
from harness.course.stage import Stage
from harness.probes.cases import TRIES, cached, generator_for
from harness.probes.compare import VALUES, Tolerance, difference
from harness.probes.context import Errored, Failed, StageContext, for_staff, in_words
from harness.probes.proxy import StageTrouble, proxy

# VALUES leave room for float32, of which a sample takes a part only.
STEADY = Tolerance(VALUES.relative / 4, VALUES.room / 4)

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Chain:
    """Stages, and the links that connect them, in order."""

    stages: tuple[Stage, ...]
    links: tuple[Link, ...]

    @cached_property
    def _stages(self) -> dict[str, Stage]:
        return {stage.name: stage for stage in self.stages}

    def sample(self, seed: int, sizes: Sizes, attempt: int) -> Values:
        """Return a value for every name that no link computes, sampled by its first stage."""
        computed = {name for link in self.links for name in link.outputs}
        leaves: Values = {}
        for link in self.links:
            generator = generator_for(seed, "chain", link.stage, attempt)
            values = self._stages[link.stage].sample(generator, sizes)
            for name, value in zip(link.inputs, values, strict=True):
                if name not in computed and isinstance(value, Tensor):
                    leaves.setdefault(name, value)
        return leaves

    def are_steady(self, leaves: Values, right: Values) -> bool:
        """Return whether any one stage could work in float32 with little effect on a gradient."""
        ways = product({link.stage for link in self.links}, (True, False))
        return all(
            difference(gradient, right[leaf], STEADY, size=_largest(right[leaf])) is None
            for stage, stays in ways
            for leaf, gradient in self._with_float32(stage, stays, leaves).items()
        )

    def _with_float32(self, stage: str, stays: bool, leaves: Values) -> Values:
        """Return the gradients with a stage in float32, whose output ``stays`` so.

        They are empty if the other stages refuse it.
        """
        forward = self._stages[stage].forward

        def rounded(*values: Tensor) -> Tensor:
            output: Tensor = forward(
                *(each.float() if each.is_floating_point() else each for each in values)
            )
            return output if stays else output.double()

        with suppress(RuntimeError):
            return self.gradients({stage: rounded}, leaves)
        return {}

    def gradients(self, stand_ins: Mapping[str, Callable[..., Tensor]], leaves: Values) -> Values:
        """Return ∂C/∂x for every leaf x; targets, whose gradient is optional, stay constant."""
        targets = {
            given
            for link in self.links
            for name, given in zip(self._stages[link.stage].inputs, link.inputs, strict=True)
            if name in self._stages[link.stage].optional
        }
        values = {name: value.clone() for name, value in leaves.items()}
        wrt = {
            name: value.requires_grad_() for name, value in values.items() if name not in targets
        }
        for link in self.links:
            function: Callable[..., Tensor]
            function = stand_ins.get(link.stage, self._stages[link.stage].forward)
            values[link.outputs[0]] = function(*(values[name] for name in link.inputs))
        cost = values[self.links[-1].outputs[0]]
        found = torch.autograd.grad(
            cost, list(wrt.values()), allow_unused=True, materialize_grads=True
        )
        return dict(zip(wrt, found, strict=True))


@cached
def chain_case(chain: Chain, seed: int, sizes: Sizes) -> tuple[Values, Values]:
    """Return values for the chain, and ∂C/∂x for each value x by the references alone.

    They are drawn again while rounding to float32 changes a gradient: a student's would too.
    """
    for attempt in range(TRIES):
        leaves = chain.sample(seed, sizes, attempt)
        right = chain.gradients({}, leaves)
        if chain.are_steady(leaves, right):
            break
    return leaves, right


def judge_chain(
    links: tuple[Link, ...], contexts: Mapping[str, StageContext], students: Collection[str]
) -> None:
    """Raise Failed unless ∂C/∂x is right for every leaf x.

    ``students`` names the stages that are the student's; references stand in for the others.
    """
    chain = Chain(tuple(each.stage for each in contexts.values()), links)
    context = contexts[next(iter(students))]
    seed, sizes = context.seed, context.sizes_for("chain")
    leaves, right = chain_case(chain, seed, sizes)
    who = context.stage.name if len(students) == 1 else "The chain of your stages"
    case = {"seed": seed, **sizes}
    stopped = f"{who} did not run in the chain: "
    try:
        proxies = {
            name: proxy(contexts[name].candidate, name, contexts[name].handles) for name in students
        }
        got = chain.gradients(proxies, leaves)
    except StageTrouble as trouble:
        said, detail = in_words(trouble.what, trouble.trouble)
        staff = for_staff(trouble.trouble)
        raise Errored(stopped + said, detail, staff=staff, case=case) from None
    except (RuntimeError, TypeError) as refusal:
        where = f"{stopped}torch's engine refused it."
        said = f"torch says: {refusal}"
        raise Failed(where, said, staff=str(refusal), case=case) from None
    for name, gradient in got.items():
        off = difference(gradient, right[name], VALUES, size=_largest(right[name]))
        if off:
            raise Failed(
                f"In the chain, ∂C/∂{name} is wrong when {who} computes it.",
                staff=f"{name}{off.at} is {off.got!r}, not {off.right!r}",
                case=case,
                got=off.got,
            )


def _largest(values: Tensor) -> float:
    return float(values.abs().max())
