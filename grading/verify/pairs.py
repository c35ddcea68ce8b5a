"""Write the functions of a pair around a class: mutants and controls are classes.

The class is derived from one that calls the solution's functions, and new functions call it.
"""

import ast
from collections.abc import Mapping
from pathlib import Path

from grading.verify.writing import arguments_of
from harness.course.stage import Stage

TEXT = Path(__file__).with_name("pair.txt").read_text(encoding="utf-8")


def around(stage: Stage, code: str) -> str:
    """Return a class for a stage as it is, or, for a pair, with functions that call it."""
    head, below = frame_of(stage)
    return head + code + below


def frame_of(stage: Stage) -> tuple[str, str]:
    """Return what stands above and below a class for a stage: nothing unless it is a pair."""
    pair = stage.pair
    if pair is None:
        return "", ""
    inside = {name: f"{key}['{at}']" for key, keys in pair.packed for at, name in keys}
    packs = [", ".join(f"{at!r}: {name}" for at, name in keys) for _, keys in pair.packed]
    plain = [name for name in pair.inputs if name not in inside]
    arrays = "array" if pair.in_numpy else "plain"
    called, end = f"functions_{stage.name}[1](*map(as_{arrays}, g), ctx.cache)", "ctx"
    if pair.without_upstream:
        called, end = "ctx.cache", f"{stage.name}_gradients(ctx, torch.ones_like(out))"
    scale = "{} * g[0]" if pair.without_upstream else "{}"
    returned = [scale.format(x) if x in pair.needed else "None" for x in pair.inputs]
    text = TEXT.format(
        name=stage.name,
        functions=", ".join(pair.functions),
        arrays=arrays,
        as_array="value.detach().numpy()" if pair.in_numpy else "value.detach()",
        inputs=arguments_of(stage),
        arguments=", ".join([*plain, *(f"{{{each}}}" for each in packs)]),
        backward=called,
        needed=", ".join(pair.needed) + ",",
        returned=", ".join(returned) + ",",
        forward=pair.forward,
        backward_name=pair.backward,
        parameters=", ".join([*plain, *(key for key, _ in pair.packed)]),
        unpacked=", ".join(inside.get(name, name) for name in pair.inputs),
        needs=tuple(name in pair.needed for name in pair.inputs),
        end=f"return (*map(as_{arrays}, {'out' if pair.outputs > 1 else '(out,)'}), {end})",
    )
    if pair.without_upstream:
        text = text[: text.index(f"def {pair.backward}(*douts")]
    head, below = text.split("«class»")
    return head + "\n\n", below


def written_of(
    stage: Stage, defined: Mapping[str, ast.ClassDef | ast.FunctionDef]
) -> ast.ClassDef | ast.Module | None:
    """Return what the solution has of a stage: its class, or its functions; None if it has not."""
    found = [defined[name] for name in stage.parts if name in defined]
    if len(found) < len(stage.parts):
        return None
    if stage.pair:
        return ast.Module([*found], type_ignores=[])
    return found[0] if isinstance(found[0], ast.ClassDef) else None
