"""Check that the stages work together in torch's graph, from the cost to every parameter."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from harness.candidate.operations import Link
from harness.probes.cases import TRIES, generator_for
from harness.probes.compare import VALUES, difference
from harness.probes.context import Errored, Failed, StageContext, for_staff, in_words
from harness.probes.proxy import StageTrouble, proxy

# How far each leaf is moved, relative to its size, and how much further no gradient may go: with
# float32's roundings, VALUES are then kept to. A gradient of nothing but 0 stays where it is.
STEP, SENSITIVE, TINY = 1e-4, 8.0, 1e-300


@dataclass(frozen=True)
class ChainContext:
    """The contexts of all stages, and the links that connect them, in order."""

    stages: Mapping[str, StageContext]
    links: tuple[Link, ...]

    @cached_property
    def leaves(self) -> dict[str, Tensor]:
        """A value for every name that no link computes, sampled by the first stage that uses it.

        Drawn again while a small change of them changes a gradient much: a student's rounding
        would too.
        """
        for attempt in range(TRIES):
            leaves = self._drawn(attempt)
            if self._sensitivity(leaves) < SENSITIVE:
                break
        return leaves

    def _drawn(self, attempt: int) -> dict[str, Tensor]:
        computed = {link.output for link in self.links}
        leaves: dict[str, Tensor] = {}
        for link in self.links:
            context = self.stages[link.stage]
            generator = generator_for(context.seed, "chain", link.stage, attempt)
            values = context.stage.sample(generator, context.sizes_for("chain"))
            for name, value in zip(link.inputs, values, strict=True):
                if name not in computed:
                    leaves.setdefault(name, value)
        return leaves

    def _sensitivity(self, leaves: dict[str, Tensor]) -> float:
        """Return by how much more than a leaf, relative to its size, a gradient changes."""
        right = self.gradients({}, leaves)
        moved = (
            self.gradients({}, {**leaves, name: value * (1 + STEP)})
            for name, value in leaves.items()
            if value.is_floating_point()
        )
        return max(
            _largest(gradient - right[leaf]) / (_largest(right[leaf]) + TINY) / STEP
            for each in moved
            for leaf, gradient in each.items()
        )

    @cached_property
    def right(self) -> dict[str, Tensor]:
        """∂C/∂x for every leaf x, by the references alone."""
        return self.gradients({}, self.leaves)

    def gradients(
        self, stand_ins: Mapping[str, Callable[..., Tensor]], leaves: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return ∂C/∂x for every leaf x; targets, whose gradient is optional, stay constant."""
        targets = {
            given
            for link in self.links
            for name, given in zip(self.stages[link.stage].stage.inputs, link.inputs, strict=True)
            if name in self.stages[link.stage].stage.optional
        }
        values = {name: value.clone() for name, value in leaves.items()}
        wrt = {
            name: value.requires_grad_() for name, value in values.items() if name not in targets
        }
        for link in self.links:
            function = stand_ins.get(link.stage, self.stages[link.stage].stage.forward)
            values[link.output] = function(*(values[name] for name in link.inputs))
        cost = values[self.links[-1].output]
        found = torch.autograd.grad(
            cost, list(wrt.values()), allow_unused=True, materialize_grads=True
        )
        return dict(zip(wrt, found, strict=True))


def judge_chain(chain: ChainContext, students: Collection[str]) -> None:
    """Raise Failed unless ∂C/∂x is right for every leaf x.

    ``students`` names the stages that are the student's; references stand in for the others.
    """
    right = chain.right
    contexts = {name: chain.stages[name] for name in students}
    context = next(iter(contexts.values()))
    who = context.stage.name if len(students) == 1 else "The chain of your stages"
    case = {"seed": context.seed, **context.sizes_for("chain")}
    stopped = f"{who} did not run in the chain: "
    try:
        proxies = {
            name: proxy(each.candidate, name, each.handles) for name, each in contexts.items()
        }
        got = chain.gradients(proxies, chain.leaves)
    except StageTrouble as trouble:
        said, detail = in_words(trouble.what, trouble.trouble)
        staff = for_staff(trouble.trouble)
        raise Errored(stopped + said, detail, staff=staff, case=case) from None
    except (RuntimeError, TypeError) as refusal:
        where = f"{stopped}torch's engine refused it."
        said = f"torch says: {refusal}"
        raise Failed(where, said, staff=str(refusal), case=case) from None
    for name, gradient in got.items():
        off = difference(gradient, right[name], VALUES, size=float(right[name].abs().max()))
        if off:
            raise Failed(
                f"In the chain, ∂C/∂{name} is wrong when {who} computes it.",
                staff=f"{name}{off.at} is {off.got!r}, not {off.right!r}",
                case=case,
                got=off.got,
            )


def _largest(values: Tensor) -> float:
    return float(values.abs().max())
