"""Right ways to compute a stage: other formulas and other tools, for classes in any style."""

from functools import cache
from pathlib import Path

import msgspec
import torch

from grading.verify.writing import arguments_of, given_of, returned, steps_of, tensors_of
from harness.course.stage import Stage


class Equivalent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A right way to compute a stage.

    ``forward`` are the lines that make the output from the inputs, by their declared names.
    ``saves`` names what backward needs, ``backward`` are its lines before the return, and
    ``returns`` has an expression for each input.
    """

    forward: str
    saves: tuple[str, ...]
    returns: tuple[str, ...]
    backward: str = "pass"


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """The formulas by table and name, and the table for each stage of each assignment."""

    stages: dict[str, dict[str, str]]
    formulas: dict[str, dict[str, Equivalent]]


def equivalents_for(assignment: str, stage: Stage) -> dict[str, Equivalent]:
    """Return the equivalents known for a stage by name, the declared formula first."""
    table = _known().stages.get(assignment, {}).get(stage.name, "")
    way = "as declared" if is_written(stage) else "as solved"
    return {way: _declared(stage), **_known().formulas.get(table, {})}


@cache
def _known() -> _File:
    data = Path(__file__).with_name("equivalents.toml").read_bytes()
    return msgspec.toml.decode(data, type=_File)


def is_written(stage: Stage) -> bool:
    """Return whether the stage declares an expression for each gradient, so that it can be written.

    It also has to have all digits there. Otherwise right classes are derived from the solution's.
    """
    several = any(stage.inputs[name].several for name in stage.differentiable)
    if several or set(stage.gradients) != set(stage.differentiable):
        return False
    # In a student's file, where(z > 0, 1.0, 0.01) is in float32.
    inputs = stage.sample(torch.Generator().manual_seed(0), stage.sizes[0])
    upstream = tuple(torch.ones_like(each) for each in stage.run(inputs))
    scope = stage.whole_scope(inputs, upstream)
    texts = (*stage.where.values(), *stage.gradients.values())
    pairs = [(eval(each, scope), stage.evaluate(each, inputs, upstream)) for each in texts]
    return all(bool(torch.as_tensor(one == other).all()) for one, other in pairs)


def _declared(stage: Stage) -> Equivalent:
    outputs, given = ", ".join(stage.outputs), given_of(stage)
    solved = f"Solved{stage.name}"
    steps = [f"({given}) = ctx.given"] if given else []
    if not is_written(stage):
        upstreams = ", ".join(stage.upstreams)
        steps = [
            f"solved = {solved}.backward(ctx, {upstreams})",
            "solved = solved if isinstance(solved, tuple) else (solved,)",
        ]
        return Equivalent("", (), tuple(returned(stage, {})), "\n".join(steps))
    forward = f"{outputs} = {solved}.apply({arguments_of(stage)})"
    steps += steps_of(stage, stage.gradients.values())
    return Equivalent(
        f"{forward}\nctx.given = ({given})" if given else forward,
        (*tensors_of(stage), *stage.outputs),
        tuple(returned(stage, stage.gradients)),
        "\n".join(steps) or "pass",
    )
