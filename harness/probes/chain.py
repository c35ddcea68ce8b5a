"""Do the stages work together: in torch's own graph, from the cost back to every parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from harness.candidate.operations import Link
from harness.course.stage import Stage
from harness.probes.cases import generator_for
from harness.probes.compare import VALUES, difference
from harness.probes.context import Bench, Errored, Failed, for_staff, in_words
from harness.probes.proxy import StageTrouble, proxy


@dataclass(frozen=True)
class ChainBench:
    """The benches of all stages and the links that connect them, in order."""

    benches: Mapping[str, Bench]
    links: tuple[Link, ...]

    @cached_property
    def leaves(self) -> dict[str, Tensor]:
        """A value for every name that no link computes."""
        return _leaves(self)

    @cached_property
    def right(self) -> dict[str, Tensor]:
        """∂C/∂x for every leaf x, by the references alone."""
        return _gradients(self, {})


def one_stage(chain: ChainBench, stage: str) -> None:
    """{stage} works in the chain, with references for the other stages"""
    judge_chain(chain, [stage])


def all_stages(chain: ChainBench) -> None:
    """The whole chain, from C back to every parameter, runs on your stages"""
    judge_chain(chain, chain.benches)


def judge_chain(chain: ChainBench, students: Iterable[str]) -> None:
    """Raises Failed unless ∂C/∂x is right for every leaf x, with the student's own ``students``."""
    students = list(students)
    right = chain.right
    stand_ins = {
        name: proxy(chain.benches[name].candidate, name, chain.benches[name].handles)
        for name in students
    }
    who = students[0] if len(students) == 1 else "The chain of your stages"
    bench = chain.benches[students[0]]
    case = {"seed": bench.seed, **bench.sizes_for("chain")}
    try:
        got = _gradients(chain, stand_ins)
    except StageTrouble as stopped:
        said, detail = in_words(stopped.what, stopped.trouble)
        raise Errored(
            f"{who} did not run in the chain: {said}",
            detail,
            staff=for_staff(stopped.trouble),
            case=case,
        ) from None
    except (RuntimeError, TypeError) as refusal:
        raise Failed(
            f"{who} did not run in the chain: torch's engine refused it.",
            f"torch says: {refusal}",
            staff=str(refusal),
            case=case,
        ) from None
    for name, gradient in got.items():
        off = difference(gradient, right[name], VALUES, size=float(right[name].abs().max()))
        if off:
            raise Failed(
                f"In the chain, ∂C/∂{name} is wrong when {who} computes it.",
                staff=f"{name}{off.at} is {off.got!r}, not {off.right!r}",
                case=case,
                got=off.got,
            )


def _leaves(chain: ChainBench) -> dict[str, Tensor]:
    """A value for every name that no link computes, sampled by the first stage that uses it."""
    made = {link.output for link in chain.links}
    leaves: dict[str, Tensor] = {}
    for link in chain.links:
        bench = chain.benches[link.stage]
        generator = generator_for(bench.seed, "chain", link.stage)
        values = bench.stage.sample(generator, bench.sizes_for("chain"))
        for name, value in zip(link.inputs, values, strict=True):
            if name not in made:
                leaves.setdefault(name, value)
    return leaves


def _gradients(
    chain: ChainBench, stand_ins: Mapping[str, Callable[..., Tensor]]
) -> dict[str, Tensor]:
    """∂C/∂x for every leaf x; targets, whose gradient is optional, stay constant."""
    values = {name: value.clone() for name, value in chain.leaves.items()}
    wrt = [name for name in values if not _is_target(chain, name)]
    for name in wrt:
        values[name].requires_grad_()
    for link in chain.links:
        stage: Stage = chain.benches[link.stage].stage
        function = stand_ins.get(link.stage, stage.forward)
        values[link.output] = function(*(values[name] for name in link.inputs))
    cost = values[chain.links[-1].output]
    found = torch.autograd.grad(
        cost, [values[name] for name in wrt], allow_unused=True, materialize_grads=True
    )
    return dict(zip(wrt, found, strict=True))


def _is_target(chain: ChainBench, name: str) -> bool:
    for link in chain.links:
        stage = chain.benches[link.stage].stage
        roles = zip(stage.inputs, link.inputs, strict=True)
        if any(given == name and role in stage.optional for role, given in roles):
            return True
    return False
