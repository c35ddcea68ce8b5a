"""Check a gradient: the type, shape and values that backward returns, and torch's gradcheck."""

import math
from collections.abc import Iterator
from contextlib import suppress

from torch import Tensor

from harness.candidate.operations import Other, Returned, Returns
from harness.candidate.values import a
from harness.cases.compare import VALUES, Difference, Tolerance, difference
from harness.cases.rounding import rounding
from harness.causes.explaining import Call as RaisingCall
from harness.causes.explaining import in_place_of_a_tensor
from harness.course.numbers import number, numbers, plural, shape
from harness.language import tr
from harness.probes.context import Call, Failed, StageContext, circumstances
from harness.probes.numerical import gradcheck_objection
from harness.probes.proxy import engine_refusal


def gradient(context: StageContext, name: str) -> None:
    """Raise Failed unless backward returns ∂C/∂name."""
    for call in context.calls:
        judge_gradient(call, name)
    _judge_numerically(context, name)
    context.sound.append(name)


def advise_on_example(context: StageContext) -> None:
    """Give advice on gradients of the example that are right, but could be plainer."""
    for call in context.example[1]:
        for name in context.stage.differentiable:
            if isinstance(call.backward, Returns):
                with suppress(Failed):
                    tuple(usable_gradients(call, name, call.backward.values))


def judge_gradient(call: Call, name: str, tolerance: Tolerance = VALUES) -> None:
    """Raise Failed unless backward returned the right ∂C/∂name.

    At a kink any value between the one-sided slopes is right.
    """
    for at, got in usable_gradients(call, name, call.values):
        _judge_one(call, name, at, got, tolerance)


def _judge_one(call: Call, name: str, at: int, got: Tensor, tolerance: Tolerance) -> None:
    case, slopes = call.case, call.case.slopes[at] if call.case.slopes else None
    right = case.gradients[call.index][at]
    assert right is not None
    if slopes:
        got, right = slopes.nearest(got)
    if not (off := gradient_off(call, at, got, right, tolerance)):
        return
    entry = f"{_label(call, name, at)}{off.at}"
    came, rate = numbers(off.got, off.right)
    rates = tr("the rate {rate}").format(rate=rate)
    if slopes:
        low, high = (number(float(each[off.index])) for each in slopes)
        rates = (
            rates if low == high else tr("a rate from {low} to {high}").format(low=low, high=high)
        )
    text = tr(
        "the gradient for {entry} came back as {came}, but moving {entry} changes C at {rates}."
    ).format(entry=entry, came=came, rates=rates)
    where = circumstances(call.context, case, call.index)
    detail = (
        tr("In the example {where}, {text}").format(where=where, text=text)
        if case.is_example
        else call.elsewhere + text
    )
    if case.kind:
        detail = tr("In an example {where}, {text} {question}").format(
            where=where, text=text, question=question(off)
        )
    raise call.failed(
        _wrong(call.context, name, case.kind), detail, text, got=off.got, at=off.index
    )


def gradient_off(
    call: Call, at: int, got: Tensor, right: Tensor, tolerance: Tolerance
) -> Difference | None:
    """Return the worst entry of a gradient, or None if all are as right as the reference itself."""
    size = call.case.max_abs[call.index]
    off = difference(got, right, tolerance, size=size)
    # At a kink the last digit may decide between two slopes.
    if not off or call.case.slopes:
        return off
    room = rounding(call.context.stage, call.case, call.index).gradients[at]
    return difference(got, right, tolerance, size=size, room=room)


def question(off: Difference) -> str:
    """Return a question that leads from a wrong special value to what makes it wrong."""
    if math.isfinite(off.got):
        return tr("The formula has to hold there too: do you treat such values differently?")
    return tr("Is something divided there by 0, or by a difference that is 0?")


def _label(call: Call, name: str, at: int) -> str:
    """Return an argument's name: of several tensors, which of them it is."""
    first = call.context.stage.position(name)
    return f"{name}[{at - first}]" if call.context.stage.inputs[name].several else name


def usable_gradients(
    call: Call, name: str, values: tuple[Returned, ...]
) -> Iterator[tuple[int, Tensor]]:
    """Yield the tensors among ``values`` for ``name``, in the input's shape, and their places.

    There is none where None is right. Raise Failed where the engine refuses a value or has to sum
    it, or where it is not a tensor.
    """
    _judge_count(call, values)
    for at in call.context.stage.places(name, call.case.inputs):
        given = call.case.inputs[at]
        # An optional tensor that is absent has no gradient to judge.
        if isinstance(given, Tensor) and (not call.needed or call.needed[at]):
            got = _usable(call, name, at, given, values[at])
            if got is not None:
                yield at, got


def _usable(call: Call, name: str, at: int, given: Tensor, got: Returned) -> Tensor | None:
    stage, backward = call.context.stage, call.context.stage.phase("backward")
    if got is None:
        if name in stage.optional:
            return None
        raise _failed(
            call,
            name,
            tr("{backward} returned None for {name}.").format(backward=backward, name=name),
        )
    if isinstance(got, Other):
        came, way = in_place_of_a_tensor(got.kind, RaisingCall(stage, "backward"))
        text = tr("{backward} returned {came} for {name} where {expected} belongs. {way}").format(
            backward=backward, came=came, name=name, expected=a(stage.noun), way=way
        )
        raise _failed(call, name, text.strip())
    if not (got.is_floating_point() and got.shape == given.shape):
        _judge_with_engine(call, name, at, got)
    return got if got.shape == given.shape else got.reshape(given.shape)


def _judge_count(call: Call, values: tuple[Returned, ...]) -> None:
    inputs = call.context.stage.names_of(call.case.inputs)
    expected = len(inputs)
    if len(values) == expected:
        return
    if len(values) > expected and all(value is None for value in values[expected:]):
        call.context.advise(
            tr("backward returns more than one gradient an input: {expected} would do.").format(
                expected=expected
            )
        )
        return
    where = tr("{backward_name} does not return one gradient for each input.").format(
        backward_name=call.context.stage.backward_name
    )
    refusal = _refusal(call, values)
    detail = f"{_counted(call, values, inputs)} {refusal and f'({refusal}.)'}".strip()
    raise call.failed(where, detail if call.case.is_example else call.elsewhere + detail, detail)


def _counted(call: Call, values: tuple[Returned, ...], inputs: tuple[str, ...]) -> str:
    """Return how many gradients came back, and for which input there is none."""
    every = ", ".join(inputs)
    if values == (None,):
        return tr(
            "backward returned None: is its return missing? It has to return {inputs}"
            " gradients, for {every}; what it writes to .grad, or keeps in a name, is"
            " lost."
        ).format(inputs=len(inputs), every=every)
    text = tr("backward returned {values} for {inputs} inputs ({every})").format(
        values=plural(len(values), "value"), inputs=len(inputs), every=every
    )
    if any(isinstance(value, Other) for value in values):
        came = next(value.kind for value in values if isinstance(value, Other))
        said, way = in_place_of_a_tensor(came, RaisingCall(call.context.stage, "backward"))
        return (
            tr("{text}, and {said} among them. {way}").format(text=text, said=said, way=way).strip()
        )
    if len(values) > len(inputs):
        return tr("{text}: one for each input is enough, in their order.").format(text=text)
    return f"{text}. {_which_is_missing(call, values, inputs)}"


def _which_is_missing(call: Call, values: tuple[Returned, ...], inputs: tuple[str, ...]) -> str:
    """Return which input has no gradient among some that are right, else what to do."""
    right = call.case.gradients[call.index]
    there = {
        name
        for value in values
        for name, true in zip(inputs, right, strict=True)
        if isinstance(value, Tensor)
        and true is not None
        and value.shape == true.shape
        and difference(value, true, VALUES, size=call.case.max_abs[call.index]) is None
    }
    missing = [name for name in inputs if name not in there]
    if len(there) < len(values) or not missing:
        return tr(
            "Return one for each, in their order, and None for an input that has no gradient."
        )
    none = tr(": None, if it has none") if {*missing} - {*call.context.stage.required} else ""
    return tr("The one for {missing} is missing{none}.").format(
        missing=" and ".join(missing), none=none
    )


def _refusal(call: Call, values: tuple[Returned, ...]) -> str:
    """Return the sentence of torch's engine, or "" if it accepts the values."""
    inputs = call.case.inputs
    needed = (True,) * len(inputs)
    said = engine_refusal(call.context.stage.name, inputs, needed, call.upstream, values)
    return said and tr("torch says: {said}").format(said=said)


def _judge_with_engine(call: Call, name: str, at: int, got: Tensor) -> None:
    """Accept what the engine accepts without a sum; raise Failed for the rest."""
    inputs = call.case.inputs
    given = inputs[at]
    assert isinstance(given, Tensor)
    stage = call.context.stage
    backward = stage.phase("backward")
    if got.is_complex():
        text = tr(
            "{backward} returned complex numbers for {name}, which is real: .real returns the real "
            "part."
        )
        raise _failed(call, name, text.format(backward=backward, name=name))
    came = tr("{backward} returned shape {got} for {name}, which has shape {given}").format(
        backward=backward, got=shape(got), name=name, given=shape(given)
    )
    refusal = _refusal(call, tuple(got if place == at else None for place in range(len(inputs))))
    if refusal:
        raise _failed(call, name, f"{came}." if stage.pair else f"{came}; {refusal}")
    if got.numel() != given.numel():
        text = tr("{came}: the sum that is missing is yours to write").format(came=came)
        text += "." if stage.pair else tr("; torch hides it by summing.")
        raise _failed(call, name, text)
    if got.shape != given.shape:
        advice = tr(
            "{backward} returns ∂C/∂{name} with extra axes of size 1; torch drops them, but the "
            "shape of {name} itself is clearer."
        )
        if stage.pair:
            advice = tr(
                "{backward} returns ∂C/∂{name} with extra axes of size 1: the shape of {name} "
                "itself is clearer."
            )
        call.context.advise(advice.format(backward=backward, name=name))


def _judge_numerically(context: StageContext, name: str) -> None:
    calls, stage = context.gradcheck_calls, context.stage
    answers = [tuple(got for _, got in usable_gradients(call, name, call.values)) for call in calls]
    # There are none where gradcheck would refuse the true gradients too.
    if not any(answers):
        return
    case = calls[0].case
    if objection := gradcheck_objection(stage, [name], case, answers):
        text = tr(
            "torch's gradcheck moves every entry of {name} a little and watches "
            "{output}; it disagrees with what backward returned."
        ).format(name=name, output=stage.output)
        raise Failed(_wrong(context, name), text, staff=objection, case=case.facts())


def _failed(call: Call, name: str, text: str) -> Failed:
    detail = text if call.case.is_example else call.elsewhere + text
    return call.failed(_wrong(call.context, name), detail, text)


def _wrong(context: StageContext, name: str, kind: str = "") -> str:
    where = f" where {kind}" if kind else ""
    return tr("{backward_name}: ∂C/∂{name} is wrong{where}.").format(
        backward_name=context.stage.backward_name, name=name, where=where
    )
