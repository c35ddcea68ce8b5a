"""Check what torch relies on beyond the gradients, once the gradients themselves are right."""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from operator import lt

from torch import Tensor

from harness.candidate.operations import Backward, Operation, Read, Trouble, Unchanged
from harness.cases.cases import (
    Case,
    extreme_cases,
    layout_cases,
    memory_cases,
    mixes_numbers,
    shuffled,
)
from harness.cases.compare import DIGITS, EXTREMES, PRECISION
from harness.course.numbers import number
from harness.course.sizes import covering
from harness.language import tr
from harness.probes.context import Call, Errored, Failed, StageContext, noting, restating
from harness.probes.float32 import judge_in_float32
from harness.probes.forward import judge_output
from harness.probes.gradient import gradient_off, judge_gradient, usable_gradients

# Of more inputs than six, not every subset is tried.
MOST_SUBSETS = 62
# In memory; only tensors can be expanded.
_LAID_OUT = (tr("a tensor is transposed or expanded"), tr("a matrix is transposed"))
# What is left of a gradient that is zero, relative to the upstream.
NOTHING = 1e-12
_LOSES_DIGITS = tr(
    "It agrees to 6 digits and not to 9: does something in {} turn float64 "
    "into float32, or approximate?"
)
_KEEP = tr(
    "Keep what backward needs in {}, not in {}a global, and do not change what you saved there."
)


def precision(context: StageContext) -> None:
    """Raise Failed unless results have full precision in float64, and are right in float32."""
    stage = context.stage
    if context.mixed:
        where = tr("{name} only runs where new tensors are float64 by default.").format(
            name=stage.name
        )
        raise context.mixed.restated(where, f"{context.mixed.where} {context.mixed.detail}")
    for call in context.calls:
        for name in context.sound:
            for at, got in usable_gradients(call, name, call.values):
                right = call.case.gradients[call.index][at]
                if right is None or _is_zero(call, right):
                    continue
                if gradient_off(call, at, got, right, PRECISION):
                    raise call.failed(
                        tr("{backward_name}: ∂C/∂{name} is right, but loses digits.").format(
                            backward_name=stage.backward_name, name=name
                        ),
                        _LOSES_DIGITS.format(stage.phase("backward")),
                    )
    judge_in_float32(context, forward=_outputs_are_right(context))


def _is_zero(call: Call, right: Tensor) -> bool:
    """Return whether a gradient is zero but for rounding, and so has no digits to lose."""
    largest = float(right.abs().max()) if right.numel() else 0.0
    return largest <= NOTHING * call.case.max_abs[call.index]


def _outputs_are_right(context: StageContext) -> bool:
    """Return whether forward is right; a wrong one has its own failure.

    Raise Failed if it is right and loses digits.
    """
    outputs = [
        (case, context.output(reply, case))
        for case, reply in zip(context.cases, context.outputs, strict=True)
    ]
    try:
        for case, output in outputs:
            judge_output(context, case, output)
    except Failed:
        return False
    where = tr("{forward_name} is right, but loses digits.").format(
        forward_name=context.stage.forward_name
    )
    with restating(where, _LOSES_DIGITS.format(context.stage.phase("forward"))):
        for case, output in outputs:
            judge_output(context, case, output, DIGITS)
    return True


def stability(context: StageContext) -> None:
    """Raise Failed unless values far from zero give finite, right results."""
    sizes = context.sizes_for("stability")
    made = [extreme_cases(context.stage, context.seed, each) for each in sizes]
    # A difference of large numbers is only as exact as those are.
    mixes = mixes_numbers(context.stage)
    for call in context.ask([case for cases in made for case in cases]):
        size = max(1.0, call.case.input_max_abs) if mixes else 1.0
        tolerance = replace(EXTREMES, room=EXTREMES.room * size)
        try:
            judge_output(context, call.case, call.outputs, EXTREMES)
            for name in context.sound:
                judge_gradient(call, name, tolerance)
        except Failed as failed:
            values = "; ".join(
                tr("{name} from {min} to {max}").format(
                    name=name, min=number(min(values)), max=number(max(values))
                )
                for name, values in context.stage.extremes.items()
            )
            raise failed.restated(
                tr("{name} breaks down for some values of {values}.").format(
                    name=context.stage.name, values=values
                ),
                f"{_with_its_value(call, failed)} {_far_out(failed.got)}".strip(),
            ) from None


def _with_its_value(call: Call, failed: Failed) -> str:
    """Return what came back, and the extreme value that stands where it did."""
    if failed.got is None:
        return failed.detail
    for name in call.context.stage.extremes:
        given = call.case.inputs[call.context.stage.position(name)]
        if not isinstance(given, Tensor) or len(failed.at) != given.dim():
            continue
        if all(map(lt, failed.at, given.shape)):
            place = f"{name}[{', '.join(map(str, failed.at))}]" if failed.at else name
            return f"With {place} = {number(float(given[failed.at]))}, {failed.staff}"
    return failed.detail


def _far_out(got: float | None) -> str:
    """Return a question on the value returned far from zero, if a single value is wrong."""
    if got is None:
        return ""
    if not math.isfinite(got):
        return tr("Does an exponential overflow to inf, so that inf / inf gives nan?")
    if got == 0:
        return tr("The right value there is not 0: does your formula stop somewhere?")
    return tr("Is something cut off or approximated there?")


def purity(context: StageContext) -> None:
    """Raise Failed if a call changes its inputs or the upstream gradient."""
    script: list[Operation] = []
    for case in context.cases[1:]:
        handle = next(context.handles)
        script.append(context.forward_of(case, handle))
        script += [Backward(handle, upstream) for upstream in case.upstreams]
        script.append(Read(handle))
    pairs = zip(script, context.candidate.perform(script), strict=True)
    looks = [reply for operation, reply in pairs if isinstance(operation, Read)]
    for case, reply in zip(context.cases[1:], looks, strict=True):
        if isinstance(reply, Trouble):
            context.fail(reply, "backward", case)
        assert isinstance(reply, Unchanged)
        kinds = {name: each.kind for name, each in context.stage.inputs.items()}
        names = zip(context.stage.names_of(case.inputs), reply.inputs, strict=True)
        changed = [name for name, same in names if not same and kinds[name].role != "buffer"]
        if not all(reply.upstreams):
            changed.append("dout" if context.stage.pair else tr("the upstream gradient"))
        if changed:
            noun = context.stage.noun
            raise Failed(
                tr("{name} changes {changed} in place.").format(
                    name=context.stage.name, changed=" and ".join(changed)
                ),
                tr(
                    "Another part of the network still needs the old values: compute new "
                    "{noun}s (x * 2) rather than changing the ones you were given (x *= 2)."
                ).format(noun=noun),
                case=case.facts(),
            )


def memory(context: StageContext) -> None:
    """Raise Failed if calls disturb each other, or backward cannot run twice."""
    for own in context.sizes_for("memory"):
        _judge_memory(context, memory_cases(context.stage, context.seed, own))


def _judge_memory(context: StageContext, cases: Sequence[Case]) -> None:
    """Judge the first of some cases with each of the others; the second has the same sizes."""
    first, second, *others = cases
    _judge_pair(context, first, second, "")
    try:
        for other in others:
            _judge_pair(context, first, other, tr(" with other sizes"))
    except Errored as raised:
        # The calls are fine by themselves: one that raises here reads another's memory.
        raise raised.restated(
            tr("{backward_name} raises after a forward with other sizes has run.").format(
                backward_name=context.stage.backward_name
            ),
            _keep(context),
        ) from None


def _keep(context: StageContext) -> str:
    """Return where a stage can keep what backward needs."""
    if context.stage.pair:
        return _KEEP.format(tr("the cache"), "")
    return _KEEP.format(tr("ctx (ctx.save_for_backward)"), tr("the class or in "))


def _judge_pair(context: StageContext, first: Case, second: Case, what: str) -> None:
    """Judge two calls that interleave; ``what`` distinguishes the second from the first."""
    one, two = next(context.handles), next(context.handles)
    # Of several outputs, the second call uses a part.
    part = len(second.upstreams) - 1 if len(context.stage.outputs) > 1 else 0
    forward, other, backward, other_backward, read, again = context.candidate.perform(
        [
            context.forward_of(first, one),
            context.forward_of(second, two),
            Backward(one, first.upstreams[0]),
            Backward(two, second.upstreams[part]),
            Read(one),
            Backward(one, first.upstreams[0]),
        ]
    )
    calls = {
        tr("a later forward{elsewhere} has run").format(elsewhere=what): Call(
            context, first, 0, forward, backward
        ),
        tr("another backward{elsewhere} has run").format(elsewhere=what): Call(
            context, second, part, other, other_backward
        ),
        tr("its backward has run once before"): Call(context, first, 0, forward, again),
    }
    stage = context.stage.name
    with noting(second_seed=second.seed, second_index=second.index):
        for after, call in calls.items():
            where = tr("{backward_name} gives a wrong gradient after {after}.").format(
                backward_name=context.stage.backward_name, after=after
            )
            _judge_all(call, where, _keep(context))
        if isinstance(read, Unchanged) and not read.results:
            raise Failed(
                tr("What {stage} has returned changes when it is called again{elsewhere}.").format(
                    stage=stage, elsewhere=what
                ),
                tr(
                    "Return a new {noun} from each call, not one that is kept in {place} "
                    "global and filled again."
                ).format(
                    noun=context.stage.noun,
                    place="a" if context.stage.pair else tr("the class or in a"),
                ),
                case=first.facts(),
            )


def layout(context: StageContext) -> None:
    """Raise Failed unless transposed and expanded tensors give the same gradients."""
    sizes = context.sizes_for("layout")
    made = [layout_cases(context.stage, context.seed, each) for each in sizes]
    for call in context.ask([case for cases in made for case in cases]):
        _judge_all(
            call,
            tr("{backward_name} is wrong when {layout}.").format(
                backward_name=context.stage.backward_name,
                layout=_LAID_OUT[bool(context.stage.pair)],
            ),
            tr(
                "The values are the same, only their order in memory differs: operations "
                "such as @, *, .T and sum do not mind."
            ),
        )


def subsets(context: StageContext) -> None:
    """Raise Failed unless each input gets its gradient whichever others need one."""
    for case in _with_most_tensors(context):
        has = context.stage.with_gradient(case.inputs)
        subsets = (
            chosen
            for chosen in product(*((True, False) if each else (False,) for each in has))
            if any(chosen) and chosen != has
        )
        tried = shuffled(subsets, context.seed, context.stage.name, "subsets")[:MOST_SUBSETS]
        for needed in tried:
            with noting(requires_grad=sum(need << place for place, need in enumerate(needed))):
                _judge_subset(context, case, needed)


def _with_most_tensors(context: StageContext) -> list[Case]:
    """Return the first of the cases in which most tensors are there, and others for each choice."""
    stage = context.stage
    ranked = sorted(context.cases[1:], key=lambda each: -sum(stage.with_gradient(each.inputs)))
    chosen = covering(stage, [each.sizes for each in ranked])
    return [next(each for each in ranked if each.sizes == sizes) for sizes in chosen]


def _judge_subset(context: StageContext, case: Case, needed: tuple[bool, ...]) -> None:
    names = context.stage.names_of(case.inputs)
    asked = [name for name, need in zip(names, needed, strict=True) if need]
    only = tr("only {asked} need{s} a gradient").format(
        asked=" and ".join(asked), s="s" if len(asked) == 1 else ""
    )
    call = context.ask([case], requires_grad=needed)[0]
    try:
        _ = call.values
    except Errored as raised:
        # Not `restated`: it stays an error.
        raised.where = f"When {only}, {raised.where}"
        raise
    _judge_all(
        call,
        tr("{backward_name} is wrong when {only}.").format(
            backward_name=context.stage.backward_name, only=only
        ),
        tr("ctx.needs_input_grad tells which inputs need one, in the order of forward's inputs."),
    )


def _judge_all(call: Call, where: str, detail: str) -> None:
    """Judge the gradients that were asked for and are right elsewhere."""
    _ = call.values
    with restating(where, detail):
        for name in call.context.sound:
            judge_gradient(call, name)
