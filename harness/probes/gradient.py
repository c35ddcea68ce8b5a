"""Is a gradient right: what backward returned, its values, and torch's gradcheck."""

from __future__ import annotations

from contextlib import suppress

from torch import Tensor

from harness.candidate.operations import Other, Returned, Returns
from harness.probes.cases import Case
from harness.probes.compare import VALUES, Tolerance, difference, numbers, shape
from harness.probes.context import Bench, Failed, circumstances
from harness.probes.numerical import gradcheck_objection
from harness.probes.proxy import EngineRefusal, engine_gradients

RIGHT_SO_FAR = "It is right for the example"


def gradient(bench: Bench, name: str) -> None:
    """backward returns ∂C/∂{input}"""
    for case, answer in bench.answers_one_by_one():
        for turn in range(len(case.upstreams)):
            values = bench.returned(answer, turn, case)
            judge_gradient(bench, name, case, turn, values)
    _judge_numerically(bench, name)
    bench.sound.append(name)


def advise_on_example(bench: Bench) -> None:
    """Gives advice on gradients of the example that are right, but could be plainer."""
    case, answer = bench.cases[0], bench.example[1]
    for turn, reply in enumerate(answer.returns):
        for name in bench.stage.inputs:
            if isinstance(reply, Returns):
                with suppress(Failed):
                    usable_gradient(bench, name, case, turn, reply.values)


def judge_gradient(
    bench: Bench,
    name: str,
    case: Case,
    turn: int,
    values: tuple[Returned, ...],
    tolerance: Tolerance = VALUES,
) -> None:
    """Raises Failed unless ``values``, as backward returned them, hold the right ∂C/∂name."""
    at = tuple(bench.stage.inputs).index(name)
    got = usable_gradient(bench, name, case, turn, values)
    if got is None:
        return
    right = case.gradients[turn][at]
    off = difference(got, right, tolerance, size=case.reach[turn])
    if off:
        entry = f"{name}{off.at}"
        got_text, right_text = numbers(off.got, off.right)
        text = (
            f"the gradient for {entry} came back as {got_text}, but moving {entry} changes C at "
            f"the rate {right_text}."
        )
        where = circumstances(bench, case, turn)
        lead = "In the example" if case.is_example else f"{RIGHT_SO_FAR}; for other values"
        raise Failed(
            _wrong(bench, name),
            f"{lead} {where}, {text}",
            staff=text,
            case=case.facts(turn),
            got=off.got,
        )


def usable_gradient(
    bench: Bench, name: str, case: Case, turn: int, values: tuple[Returned, ...]
) -> Tensor | None:
    """The tensor returned for ``name``, in the input's shape; None where None is right.

    Raises Failed where the engine refuses it, has to sum it, or where it is no tensor.
    """
    stage = bench.stage
    at = tuple(stage.inputs).index(name)
    _judge_count(bench, name, case, turn, values)
    got, given = values[at], case.inputs[at]
    if got is None:
        if name in stage.optional:
            return None
        text = f"backward returned None for {name}, as if C did not depend on it."
        raise _failed(bench, name, text, case, turn)
    if isinstance(got, Other):
        text = f"backward returned a {got.kind} for {name} where a tensor belongs."
        raise _failed(bench, name, text, case, turn)
    if not (got.is_floating_point() and got.shape == given.shape):
        _judge_with_engine(bench, name, case, turn, got)
    return got if got.shape == given.shape else got.reshape(given.shape)


def _judge_count(
    bench: Bench, name: str, case: Case, turn: int, values: tuple[Returned, ...]
) -> None:
    expected = len(bench.stage.inputs)
    if len(values) == expected:
        return
    extra = values[expected:]
    if len(values) > expected and all(value is None for value in extra):
        bench.advise(f"backward returns more than one gradient an input: {expected} would do.")
        return
    try:
        engine_gradients(bench.stage.name, case.inputs, case.upstreams[turn], values)
        sentence = "torch's engine would drop the rest"
    except EngineRefusal as refusal:
        sentence = f"torch says: {refusal}"
    text = (
        f"backward returned {len(values)} value{'s' if len(values) != 1 else ''} for "
        f"{expected} input{'s' if expected != 1 else ''} ({', '.join(bench.stage.inputs)}); "
        f"{sentence}."
    )
    raise _failed(bench, name, text, case, turn)


def _judge_with_engine(bench: Bench, name: str, case: Case, turn: int, got: Tensor) -> None:
    """Lets pass what the engine accepts without a sum; raises Failed for the rest."""
    at = tuple(bench.stage.inputs).index(name)
    given = case.inputs[at]
    alone: tuple[Returned, ...] = tuple(
        got if place == at else None for place in range(len(case.inputs))
    )
    came = f"backward returned shape {shape(got)} for {name}, which has shape {shape(given)}"
    try:
        engine_gradients(bench.stage.name, case.inputs, case.upstreams[turn], alone)
    except EngineRefusal as refusal:
        text = f"{came}; torch says: {refusal}"
        raise _failed(bench, name, text, case, turn) from None
    if got.numel() != given.numel():
        text = f"{came}: the sum that is missing is yours to write; torch hides it by summing."
        raise _failed(bench, name, text, case, turn)
    if got.shape != given.shape:
        bench.advise(
            f"backward returns ∂C/∂{name} with extra axes of size 1; torch drops them, but the "
            f"shape of {name} itself is clearer."
        )


def _judge_numerically(bench: Bench, name: str) -> None:
    case, answer = bench.gradcheck_case, bench.gradcheck_answer
    returned = (bench.returned(answer, turn, case) for turn in range(len(case.upstreams)))
    answers = [
        usable_gradient(bench, name, case, turn, values) for turn, values in enumerate(returned)
    ]
    if answers[0] is None or name in bench.gradchecked:
        return
    objection = gradcheck_objection(bench.stage, [name], case, [(each,) for each in answers])
    if objection:
        text = (
            f"torch's gradcheck moves every entry of {name} a little and watches "
            f"{bench.stage.output}; it disagrees with what backward returned."
        )
        raise Failed(_wrong(bench, name), text, staff=objection, case=case.facts())


def _failed(bench: Bench, name: str, text: str, case: Case, turn: int) -> Failed:
    """The failure over what came back, or its shape, as a text says."""
    other = f"{RIGHT_SO_FAR}; for other values {circumstances(bench, case, turn)}, "
    detail = text if case.is_example else other + text
    return Failed(_wrong(bench, name), detail, staff=text, case=case.facts(turn))


def _wrong(bench: Bench, name: str) -> str:
    return f"{bench.stage.name}.backward: ∂C/∂{name} is wrong."
