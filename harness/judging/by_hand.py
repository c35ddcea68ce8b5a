"""An example to compute by hand: the smallest inputs at which a wrong gradient shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from harness.candidate.operations import Other, Returned, Returns
from harness.cases.by_hand import cases_by_hand, domains_in
from harness.cases.cases import Case
from harness.cases.compare import VALUES
from harness.course.numbers import TO_RUN, number
from harness.course.sizes import small_sizes
from harness.course.stage import Stage
from harness.language import tr
from harness.probes.context import Call, StageContext
from harness.probes.gradient import gradient_off

# What has more is not written out.
MOST_ENTRIES = 27


def examples_by_hand(
    context: StageContext, stages: Sequence[Stage], names: Sequence[str]
) -> dict[str, str]:
    """Return an example for each wrong gradient of these inputs, as text, where one shows it.

    The candidate is asked about it, so it must not have seen anything hidden.
    """
    stage, domains = context.stage, domains_in(stages, context.stage)
    finite, strange = dict[str, str](), dict[str, str]()
    for at in range(0 if stage.recorded else len(small_sizes(stage))):
        if missing := [name for name in names if name not in finite]:
            calls = context.ask(cases_by_hand(stage, domains, at))
            for call, name in product(calls, missing):
                for is_finite, text in () if name in finite else _differences(call, name):
                    (finite if is_finite else strange).setdefault(name, text)
    return {**strange, **finite}


def _differences(call: Call, name: str) -> Iterator[tuple[bool, str]]:
    """Yield whether what came back for an input is finite, and the example, where it is wrong."""
    stage, inputs = call.context.stage, call.case.inputs
    values = call.backward.values if isinstance(call.backward, Returns) else ()
    for at in stage.places(name, inputs) if len(values) == len(inputs) else ():
        right, got = call.case.gradients[0][at], values[at]
        if right is None or isinstance(got, Other) or (got is None and name not in stage.required):
            continue
        if got is not None and not _can_be_told(got):
            continue
        shown = shown_value(right), shown_value(got)
        if shown[0] == shown[1] or (got is not None and _is_right(call, at, got, right)):
            continue
        line = line_of(stage, call.case, at, by_engine=_suits_engine(call, values))
        finite = got is None or bool(got.isfinite().all())
        yield finite, _told(stage, call.case, at, *shown, line)


def _can_be_told(got: Tensor) -> bool:
    """Return whether a return holds plain numbers, and few enough to write them out."""
    plain = got.layout == torch.strided and got.device.type == "cpu" and not got.is_complex()
    return plain and got.numel() <= MOST_ENTRIES


def _is_right(call: Call, at: int, got: Tensor, right: Tensor) -> bool:
    """Return whether a gradient is right. Torch drops leading axes of size 1."""
    if got.shape != (1,) * (got.dim() - right.dim()) + tuple(right.shape):
        return False
    return not gradient_off(call, at, got.reshape(right.shape), right, VALUES)


def _suits_engine(call: Call, values: Sequence[Returned]) -> bool:
    """Return whether every gradient is a tensor in the shape of its input, so that it stays so."""
    if any(each is None for each in call.upstream):
        return False
    has = call.context.stage.with_gradient(call.case.inputs)
    return all(
        isinstance(got, Tensor) and isinstance(given, Tensor) and got.shape == given.shape
        for got, given, each in zip(values, call.case.inputs, has, strict=True)
        if each
    )


def _told(stage: Stage, case: Case, at: int, right: str, got: str, line: str) -> str:
    names = _labels(stage, case)
    given = [*zip(names, case.inputs, strict=True)]
    if stage.has_upstream:
        given += zip(stage.upstreams, case.upstreams[0], strict=True)
    values = ", ".join(f"{name} = {shown_value(value)}" for name, value in given)
    text = tr("By hand: for {values}, ∂C/∂{name} is {right}, and yours is {got}.").format(
        values=values, name=names[at], right=right, got=got
    )
    return f"{text} {tr(TO_RUN)}\n{line}"


def _labels(stage: Stage, case: Case) -> list[str]:
    names = stage.names_of(case.inputs)
    return [
        f"{name}[{at - stage.position(name)}]" if stage.inputs[name].several else name
        for at, name in enumerate(names)
    ]


def shown_value(value: Any) -> str:
    """Return a value as a person reads it: a tensor as lists of numbers with a few digits."""
    if isinstance(value, Tensor):
        return _listed(value.tolist())
    return repr(value)


def _listed(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_listed, value))}]"
    return repr(value) if isinstance(value, bool) else number(value)


def line_of(stage: Stage, case: Case, at: int, *, by_engine: bool) -> str:
    """Return a line of Python that prints what backward returns for the argument at a place.

    ``by_engine`` is whether torch's engine hands it on as it is.
    """
    pair = stage.pair
    upstream = ", ".join(_code(each, stage) for each in case.upstreams[0])
    if pair is not None:
        made = pair.arguments([_code(each, stage) for each in case.inputs])
        called = f"{pair.forward}({', '.join(map(_written, made))})"
        back = f"{pair.backward}({upstream}, {called}[-1])"
        return f"print({called}[-1])" if pair.without_upstream else f"print({back})"
    has = stage.with_gradient(case.inputs)
    codes = [_code(each, stage) for each in case.inputs]
    asked = [code for code, each in zip(codes, has, strict=True) if each]
    which = sum(has[:at])
    if by_engine:
        labels = stage.names_of(case.inputs)
        names = [
            codes[place] if not each else name if labels.count(name) == 1 else f"{name}{place}"
            for place, (name, each) in enumerate(zip(labels, has, strict=True))
        ]
        of = ", ".join(name for name, each in zip(names, has, strict=True) if each)
        applied = f"{stage.name}.apply"
        call = applied if all(has) else f"lambda {of}: {applied}({', '.join(names)})"
        inputs, index = (f"({', '.join(asked)})", f"[{which}]") if asked[1:] else (asked[0], "")
        given = f"({upstream})" if len(case.upstreams[0]) > 1 else upstream
        vjp = f"torch.autograd.functional.vjp({call}, {inputs}, {given})[1]{index}"
        return f"print({vjp}.tolist())"
    codes = [_leaf(code) if each else code for code, each in zip(codes, has, strict=True)]
    output = next(i for i, each in enumerate(case.upstreams[0]) if each is not None)
    one = f"[{output}]" if len(stage.outputs) > 1 else ""
    index = f"[{at}]" if len(codes) > 1 else ""
    called = f"{stage.name}.apply({', '.join(codes)}){one}"
    # With its output gone, older versions of torch empty the ctx.
    name = stage.outputs[output]
    back = f"lambda {name}: {name}.grad_fn.apply({upstream})"
    return f"print(torch.no_grad()({back})({called}){index})"


def _leaf(code: str) -> str:
    return f"{code[:-1]}, requires_grad=True)"


def _written(argument: object) -> str:
    """Return an argument that is code, or a dictionary of such, as code."""
    if isinstance(argument, dict):
        return "{" + ", ".join(f"{key!r}: {each}" for key, each in argument.items()) + "}"
    return str(argument)


def _code(value: Any, stage: Stage) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    made = "np.array" if stage.pair and stage.pair.in_numpy else "torch.tensor"
    return f"{made}({_numbers(value.tolist())})"


def _numbers(value: Any) -> str:
    """Return numbers as Python reads them, in short: 1. and 0.5."""
    if isinstance(value, list):
        return f"[{', '.join(map(_numbers, value))}]"
    text = repr(value)
    return text.removesuffix("0") if text.endswith(".0") else text
