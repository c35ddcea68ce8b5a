"""Validate a declared assignment: what is only seen when its stages run.

Everything is one sentence that says where, and what is wrong. The structure has been validated when
the declaration was loaded.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from harness.candidate.workbench import Workbench
from harness.cases.cases import case_of, largest, told
from harness.cases.exhibits import Exhibit
from harness.cases.rounding import rounding
from harness.course.assignment import Assignment
from harness.course.detective import Detective
from harness.course.inputs import Sizes, is_real_tensor
from harness.course.numbers import number, shape
from harness.course.settings import Settings
from harness.course.shapes import sizes_of
from harness.course.sizes import at_sizes
from harness.course.stage import Mistake, Stage, Upstream, Values
from harness.errors import UserError
from harness.formulas.same import generic_cases, same_as_true
from harness.mistakes import mistakes_in
from harness.probes import Failed, Session, plan
from harness.probes.detective import formulas
from harness.probes.optimizers import OptimizerContext
from harness.training.task import Task, train_reference
from harness.updates import Optimizer
from harness.updates.optimizer import as_class

RELATIVE = 1e-9
SEED = 3


def validate(assignment: Assignment, begin: Callable[[str], object] = str) -> None:
    """Raise UserError for the first fault of a declared assignment.

    ``begin`` is called with each stage and its sizes before it runs, as running it may crash.
    """
    checks = {check.id for check in plan(assignment, Settings())}
    for stage in assignment.stages:
        _validate_stage(stage, checks, begin)
    if assignment.network:
        sizes_of(assignment.network)
    for optimizer in assignment.optimizers:
        _validate_optimizer(assignment, optimizer)
    for detective in assignment.detectives:
        _validate_detective(detective)
    if assignment.task and not assignment.given:
        _validate_training(assignment, assignment.task)


def _validate_stage(stage: Stage, checks: set[str], begin: Callable[[str], object] = str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for sizes in stage.sizes:
                begin(f"{stage.place}: {stage.name}{at_sizes(sizes)}")
                _validate_at(stage, sizes)
            for mistake in stage.mistakes:
                _validate_mistake(stage, mistake, checks)
    except _Fault as fault:
        raise UserError(f"{stage.place}: {stage.name}: {fault}") from None


class _Fault(Exception):
    """What is wrong with a stage."""


def _validate_at(stage: Stage, sizes: Sizes) -> None:
    """Raise _Fault for what is wrong at some sizes."""
    generator = torch.Generator().manual_seed(SEED)
    with told(stage, "drawing inputs", sizes):
        inputs = stage.sample(generator, sizes)
    outputs = _outputs(stage, inputs, sizes)
    upstream = tuple(
        torch.randn(each.shape, generator=generator, dtype=each.dtype)
        if each.is_floating_point()
        else None
        for each in outputs
    )
    _validate_gradients(stage, inputs, upstream, sizes)
    single = tuple(
        each.float() if isinstance(each, Tensor) and is_real_tensor(each) else each
        for each in inputs
    )
    with told(stage, "forward, given float32,", sizes):
        found = stage.run(single)
    if not any(each.dtype == torch.float64 for each in found):
        with told(stage, "built-in autograd, given float32,", sizes):
            stage.true_gradients(single, tuple(None if x is None else x.float() for x in upstream))


def _outputs(stage: Stage, inputs: Values, sizes: Sizes) -> tuple[Tensor, ...]:
    """Return the outputs. Raise _Fault unless they are what the signature says, and nothing else.

    A forward must not change its inputs, or give something else each time.
    """
    copies: list[Any] = [each.clone() if isinstance(each, Tensor) else each for each in inputs]
    with told(stage, "forward", sizes):
        returned: Any = stage.forward(*copies)
    several = isinstance(returned, tuple | list)
    outputs = tuple(returned) if several else (returned,)
    if several != (len(stage.outputs) > 1) or len(outputs) != len(stage.outputs):
        came = f"{len(outputs)} values" if several else "one value"
        raise _Fault(f"forward returns {came}, and the signature says {', '.join(stage.outputs)}.")
    for name, each in zip(stage.outputs, outputs, strict=True):
        if not isinstance(each, Tensor):
            raise _Fault(f"forward returns a {type(each).__name__} for {name}, not a tensor.")
        if each.is_complex() or each.layout != torch.strided:
            kind = "complex" if each.is_complex() else "sparse"
            raise _Fault(f"{name} is {kind}, which is not supported.")
        if each.is_floating_point() and each.dtype != torch.float64:
            dtype = str(each.dtype).removeprefix("torch.")
            raise _Fault(f"forward returns {dtype} for {name} where the inputs are float64.")
        if each.isnan().any():
            hint = "does an input need a kind, such as positive(), or do sizes need a condition?"
            raise _Fault(f"forward gives nan for {name}{at_sizes(sizes)}: {hint}")
    if not any(each.is_floating_point() for each in outputs):
        raise _Fault("no output holds real numbers, so there is nothing to differentiate.")
    for name, value, copy in zip(stage.names_of(inputs), inputs, copies, strict=True):
        is_buffer = stage.inputs[name].kind.role == "buffer"
        if isinstance(value, Tensor) and not is_buffer and not torch.equal(value, copy):
            raise _Fault(f"forward changes {name} in place; declare it as buffer(), or clone it.")
    with told(stage, "forward", sizes):
        again = stage.run(inputs)
    if not all(map(torch.equal, outputs, again)):
        raise _Fault(
            "forward gives another result each time: what is drawn at random must be an input, such"
            " as a mask()."
        )
    return outputs


def _validate_gradients(stage: Stage, inputs: Values, upstream: Upstream, sizes: Sizes) -> None:
    """Raise _Fault unless there are gradients, and those declared are built-in autograd's."""
    with told(stage, "built-in autograd", sizes):
        gradients = stage.true_gradients(inputs, upstream)
    if not stage.graph(inputs, upstream)[2]:
        raise _Fault("torch cannot trace the outputs to the inputs, so there is no gradient.")
    for name, each in zip(stage.names_of(inputs), gradients, strict=True):
        if each is not None and each.isnan().any():
            raise _Fault(f"built-in autograd gives nan for ∂C/∂{name}{at_sizes(sizes)}.")
    for name, expression in stage.gradients.items():
        at = stage.position(name)
        if (true := gradients[at]) is None:
            continue
        called = f"the gradient of {name}, {expression},"
        with told(stage, called, sizes):
            value: object = stage.evaluate(expression, inputs, upstream)
        if not isinstance(value, Tensor):
            raise _Fault(f"{called} is not a tensor.")
        if value.shape != true.shape:
            raise _Fault(f"{called} has shape {shape(value)}, and {name} has {shape(true)}.")
        off, room = (value - true).abs(), RELATIVE * float(true.abs().max())
        if not bool((off <= room).all()):
            bare = replace(stage, gradients={}, mistakes=())
            case = case_of(bare, SEED, sizes, 0, inputs, (upstream,))
            room += largest([rounding(bare, case, 0).gradients[at]])
        for index in (~(off <= room)).nonzero().tolist()[:1]:
            entry = f" at {index}" if index else ""
            got, right = (number(float(each[tuple(index)])) for each in (value, true))
            gives = f"it gives {got}{entry}, and built-in autograd {right}"
            raise _Fault(f"{called} is not ∂C/∂{name}: {gives}{at_sizes(sizes)}.")


def _validate_mistake(stage: Stage, mistake: Mistake, checks: set[str]) -> None:
    """Raise _Fault for a mistake that means nothing, is none, or is rejected by no check."""
    called = f"the mistake {mistake.name}"
    inputs = stage.sample(torch.Generator().manual_seed(SEED), stage.sizes[0])
    upstream = tuple(torch.ones_like(each) for each in stage.run(inputs))
    for expression in (*mistake.gradients.values(), *filter(None, [mistake.forward])):
        try:
            stage.evaluate(expression, inputs, upstream)
        except (NameError, SyntaxError) as error:
            raise _Fault(f"{called}: {error}.") from None
        except Exception:
            # A student's mistake may well raise.
            continue
    for name, expression in mistake.gradients.items():
        # Of others the value may be right at generic points, and wrong where their check looks.
        claimed = {f"gradient/{name}", "gradient/*"} & {*mistake.rejected_by}
        if claimed and same_as_true(stage, name, expression):
            raise _Fault(f"{called} is none: {expression} is ∂C/∂{name}.")
    for each in mistake.rejected_by:
        known = each in ("*", "gradient/*", *(checks & {"training"}))
        if not known and f"{stage.slug}/{each}" not in checks:
            raise _Fault(f"{called} claims {each}, which is not a check of this stage.")


def _validate_training(assignment: Assignment, task: Task) -> None:
    """Raise UserError unless the references learn what the training asks for."""
    stages = tuple((stage.name, stage.forward) for stage in assignment.stages)
    run = train_reference(task, stages)
    name = f"{task.place or assignment.name}: the training"
    if not all(map(math.isfinite, run.costs)):
        raise UserError(f"{name} diverges on the references: take a lower rate, or another start.")
    if run.trouble is not None:
        reason = getattr(run.trouble, "text", "") or getattr(run.trouble, "reason", "")
        raise UserError(f"{name} cannot run on the references: {reason}.")
    if run.accuracy is None or run.accuracy < task.accuracy:
        raise UserError(
            f"{name} reaches {run.accuracy or 0:.1%} of unseen samples on the references, and asks "
            f"for {task.accuracy:.1%}: take more steps, another rate, or ask for less."
        )


def _validate_optimizer(assignment: Assignment, optimizer: Optimizer) -> None:
    """Raise UserError unless the reference works, also as a rule, and in the training."""
    place = f"{optimizer.place}: {optimizer.name}"
    context = OptimizerContext(optimizer, Workbench({optimizer.name: as_class(optimizer)}), SEED)
    for at in range(len(optimizer.tries)):
        trajectory = context.drawn(f"validation/{at}", (3, 2), (3, 2), at=at, absent=True)
        try:
            values = [each for step in optimizer.run(trajectory) for each in step]
        except Exception as error:
            text = f"{type(error).__name__}: {error}".rstrip(":. ")
            raise UserError(f"{place}: the reference raises {text}.") from None
        if not all(bool(each.isfinite().all()) for each in values):
            raise UserError(f"{place}: the reference gives values that are not finite.")
        right = [each for step in optimizer.path(trajectory) for each in step]
        if not all(map(partial(torch.allclose, rtol=RELATIVE), values, right)):
            raise UserError(
                f"{place}: the rule {optimizer.rule} leads elsewhere than the reference."
            )
    probes = [each for each in plan(assignment, Settings()) if each.stage == optimizer.name]
    references = {each.name: as_class(each) for each in assignment.optimizers}
    session = Session(assignment, Workbench(references), SEED)
    for check in probes:
        try:
            check.run(session)
        except Failed as failed:
            said = f"{failed.where} {failed.detail}".strip()
            raise UserError(f"{place}: the reference fails {check.id}: {said}") from None


def visible_mistakes(stage: Stage) -> list[Mistake]:
    """Return the mistakes known for a stage, in formulas only, that a gradient check can see."""
    exhibits = _exhibits(Detective("", stage, (), ()))
    known = [each for each in mistakes_in(stage) if not each.forward and not each.code]
    return [each for each in known if any(one.exposes(each.gradients) for one in exhibits)]


def _exhibits(detective: Detective) -> list[Exhibit]:
    return [
        Exhibit(detective, at, case.inputs, case.upstreams[0])
        for at, case in enumerate(generic_cases(detective.stage))
    ]


def _validate_detective(detective: Detective) -> None:
    """Raise UserError for a stage that does not work, and backwards wrongly called right or wrong.

    A wrong one has to be one that a gradient check sees.
    """
    stage, place = detective.stage, f"{detective.place}: {detective.name}"
    _validate_stage(replace(stage, mistakes=()), set())
    exhibits = _exhibits(detective)
    for wrong in filter(None, (*detective.shown, *detective.hidden)):
        try:
            for expression in wrong.gradients.values():
                stage.evaluate(expression, exhibits[0].inputs, exhibits[0].upstream)
        except (NameError, SyntaxError) as error:
            raise UserError(f"{place}: {formulas(stage, wrong)}: {error}.") from None
        except Exception:
            # Its shapes may not fit.
            continue
        if not any(each.exposes(wrong.gradients) for each in exhibits):
            raise UserError(
                f"{place}: {formulas(stage, wrong)} is right, as far as gradient checks see."
            )
    for right in detective.right:
        if trouble := next(filter(None, (each.exposes(right) for each in exhibits)), ""):
            raise UserError(f"{place}: {right} is among the right ones, and {trouble}.")
