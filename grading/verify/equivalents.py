"""Right ways to compute a stage: other formulas and other tools, for classes in any style."""

from functools import cache
from pathlib import Path

import msgspec

from grading.verify.writing import spelled
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
    return {"as declared": _declared(stage), **_known().formulas.get(table, {})}


@cache
def _known() -> _File:
    data = Path(__file__).with_name("equivalents.toml").read_bytes()
    return msgspec.toml.decode(data, type=_File)


def _declared(stage: Stage) -> Equivalent:
    return Equivalent(
        f"{stage.output} = Solved{stage.name}.apply({', '.join(stage.inputs)})",
        (*stage.inputs, stage.output),
        tuple(spelled(stage, stage.gradients[name]) for name in stage.inputs),
    )
