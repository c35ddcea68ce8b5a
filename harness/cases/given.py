"""Cases that students give by name, as inputs and upstreams of a stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, float64

from harness.candidate.operations import TOO_MANY, Other, Returned, Value
from harness.course.detective import NUMBERS, Detective
from harness.course.inputs import Input, Mask, Real, Whole, size_of
from harness.course.numbers import shape
from harness.course.sizes import at_sizes, fits
from harness.course.stage import Stage, Upstream, Values
from harness.language import tr


class Unusable(Exception):
    """A case that cannot be used; the text completes "Case 2: …"."""


def read_case(detective: Detective, given: Mapping[str, Returned]) -> tuple[Values, Upstream]:
    """Return inputs and upstreams from what a student gave by name. Raise Unusable."""
    stage = detective.stage
    if isinstance(kind := given.get(""), Other):
        raise Unusable(tr("it must be a dictionary, not {kind}.").format(kind=kind.kind))
    if unknown := [name for name in given if name not in detective.keys]:
        text = tr("{name} is not known; a case has {names}.")
        raise Unusable(text.format(name=repr(unknown[0]), names=", ".join(detective.keys)))
    sizes: dict[str, Any] = {}
    tensors: dict[str, Tensor | None] = {}
    for name, each in stage.inputs.items():
        value = given.get(name)
        if value is None and not each.optional:
            raise Unusable(tr("{name} is missing.").format(name=name))
        if each.is_given:
            sizes[name] = _choice(each, value)
        else:
            tensors[name] = None if value is None else _numbers(name, value)
    _measure(stage, tensors, sizes)
    inputs = tuple(
        value
        for name, each in stage.inputs.items()
        for value in ([sizes[name]] if each.is_given else _values(each, tensors[name], sizes))
    )
    return inputs, _upstream(stage, given, inputs)


def _choice(each: Input, value: Returned) -> Value:
    """Return the given value of the declaration that is equal to a student's."""
    choices: tuple[Value, ...] = getattr(each.kind, "choices", ())
    said: object = value.kind if isinstance(value, Other) else None
    if isinstance(value, Tensor) and value.dim() <= 1:
        said = tuple(value.tolist()) if value.dim() else value.item()
    for choice in choices:
        if choice == said:
            return choice
    text = tr("{name} must be one of {choices}.")
    raise Unusable(text.format(name=each.name, choices=", ".join(map(repr, choices))))


def _numbers(name: str, value: Returned) -> Tensor:
    if not isinstance(value, Tensor) or value.dtype != float64:
        kind = value.kind if isinstance(value, Other) else "tensor"
        if kind == TOO_MANY:
            raise Unusable(
                tr("{name} has more than {most} numbers.").format(name=name, most=NUMBERS)
            )
        text = tr(
            "{name} must be a number, or a tensor or lists of real numbers with rows of equal "
            "length; this cannot be read as such ({kind})."
        )
        raise Unusable(text.format(name=name, kind=kind))
    if not bool(value.isfinite().all()):
        raise Unusable(tr("{name} has a number that is not finite.").format(name=name))
    return value


def _measure(stage: Stage, tensors: Mapping[str, Tensor | None], sizes: dict[str, Any]) -> None:
    """Add to ``sizes`` what the tensors tell. Raise Unusable unless they fit each other."""
    for name, value in tensors.items():
        each = stage.inputs[name]
        if each.optional:
            sizes[f"{name}?"] = value is not None
        if value is None:
            continue
        if value.dim() != len(each.axes) + each.several:
            raise _misfit(each, value, "")
        if each.several:
            sizes[f"{name}*"] = len(value)
        for axis, side in zip(each.axes, value.shape[each.several :], strict=True):
            if axis in stage.dimensions:
                sizes.setdefault(axis, side)
    if sum(each.numel() for each in tensors.values() if each is not None) > NUMBERS:
        raise Unusable(tr("it has more than {most} numbers.").format(most=NUMBERS))
    known = {name: sizes[name] for name in stage.dimensions if name in sizes}
    try:
        for name, value in tensors.items():
            each = stage.inputs[name]
            if value is not None and value.shape[each.several :] != each.shape(sizes):
                raise _misfit(each, value, at_sizes(known))
        if min(known.values(), default=1) < 1 or not fits(stage, sizes):
            text = tr("its sizes do not fit what {name} asks for{at}.")
            raise Unusable(text.format(name=stage.name, at=at_sizes(known)))
    except NameError as error:
        raise Unusable(tr("it does not tell the size {name}.").format(name=error.name)) from None


def _misfit(each: Input, value: Tensor, where: str) -> Unusable:
    axes = ", ".join([*(["…"] if each.several else []), *each.axes])
    text = tr("{name} has shape {shape}, and must have ({axes}){where}.")
    return Unusable(text.format(name=each.name, shape=shape(value), axes=axes, where=where))


def _values(each: Input, value: Tensor | None, sizes: Mapping[str, Any]) -> Iterator[Value]:
    """Yield the arguments that a tensor stands for, as its kind has them."""
    if value is None:
        yield None
        return
    match each.kind:
        case Whole(upto=upto):
            most = size_of(upto, sizes)
            if not bool(((value == value.round()) & (value >= 0) & (value < most)).all()):
                text = tr("{name} must hold whole numbers from 0 to {most}.")
                raise Unusable(text.format(name=each.name, most=most - 1))
            value = value.long()
        case Mask():
            if not bool(((value == 0) | (value == 1)).all()):
                raise Unusable(tr("{name} must hold True and False.").format(name=each.name))
            value = value.bool()
        case Real() as kind if not kind.allows(value):
            text = tr("{name} has numbers outside of its domain.")
            raise Unusable(text.format(name=each.name))
    yield from value if each.several else (value,)


def _upstream(stage: Stage, given: Mapping[str, Returned], inputs: Values) -> Upstream:
    """Return the upstreams of a case: at least one, of the shapes of the outputs."""
    try:
        outputs = stage.run(inputs)
    except Exception as error:
        text = tr("{name} cannot be computed there ({kind}).")
        raise Unusable(text.format(name=stage.name, kind=type(error).__name__)) from None
    upstream: list[Tensor | None] = []
    for name, called, output in zip(stage.upstreams, stage.outputs, outputs, strict=True):
        value = given.get(name)
        if value is None or not output.is_floating_point():
            upstream.append(None)
            continue
        found = _numbers(name, value)
        if found.shape != output.shape:
            text = tr("{name} has shape {shape}, and must have {wanted}, that of {output}.")
            wanted = {"shape": shape(found), "wanted": shape(output), "output": called}
            raise Unusable(text.format(name=name, **wanted))
        upstream.append(found)
    if all(each is None for each in upstream):
        raise Unusable(tr("{name} is missing.").format(name=stage.upstreams[0]))
    return tuple(upstream)
