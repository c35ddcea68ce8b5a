"""Runs operations on a student's classes, in the process those classes live in."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from harness.candidate import operations as ops
from harness.candidate.backward import built_in_gradients, call_backward, node_of
from harness.candidate.collecting import collect
from harness.candidate.descent import Descent, build
from harness.candidate.forms import Pair
from harness.candidate.glue import GLUE, NOT_ALL, run_links
from harness.candidate.introspection import introspect
from harness.candidate.lines import code_at, is_students, place_of, where
from harness.candidate.pairs import function_of
from harness.candidate.printing import kept
from harness.candidate.values import (
    NothingToCall,
    a,
    copied,
    copy_with_layout,
    outputs_of,
    same,
    snapshot,
)

TEXT_LIMIT = 2_000
NO_TENSOR = "forward did not return a tensor, so there is no backward to call"


@dataclass
class _Call:
    """What the student's code was given, and the values it was copied from."""

    inputs: tuple[ops.Value, ...]
    before: tuple[ops.Value, ...]
    output: ops.Output
    outputs: tuple[Any, ...]
    in_double: bool = False
    upstreams: list[tuple[Tensor | None, Tensor | None]] = field(default_factory=list)
    results: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def check(self, outputs: int) -> None:
        """Raise NothingToCall unless forward returned as many tensors as it has outputs."""
        several, values = outputs > 1, self.output.values
        fits = len(values) == outputs and self.output.several == several
        if not fits or not all(isinstance(each, Tensor) for each in values):
            raise NothingToCall(NOT_ALL if several else NO_TENSOR)

    def keep(self, returned: Sequence[object], values: Sequence[ops.Returned]) -> None:
        """Note what was returned, with the values that it has now."""
        for result, value in zip(returned, values, strict=True):
            if isinstance(result, Tensor) and isinstance(value, Tensor):
                self.results.append((result, value))


class Workbench:
    """A candidate made of classes in this process, such as a notebook's.

    ``names`` maps names to objects, among them the stages. These have to be classes of
    ``torch.autograd.Function``, unless they are ``trusted`` references, or among the ``pairs`` of
    functions.
    """

    def __init__(
        self,
        names: Mapping[str, object],
        pairs: Mapping[str, Pair] | None = None,
        *,
        trusted: bool = False,
    ) -> None:
        self._names = names
        self._pairs = pairs or {}
        self._trusted = trusted
        self._calls: dict[int, _Call | ops.Trouble] = {}
        self._descents: dict[int, Descent | ops.Trouble] = {}
        self._last: tuple[ops.Chain, Sequence[Tensor]] | ops.Trouble
        self._last = ops.Absent("There is no chain to go on from")

    def perform(self, operations: Sequence[ops.Operation]) -> list[ops.Reply]:
        """Return one reply for each operation. What the student's code raises becomes a reply."""
        return [self.perform_one(operation) for operation in operations]

    def renew(self) -> Workbench:
        """Return itself: nothing is hidden from this process."""
        return self

    def perform_one(self, operation: ops.Operation) -> ops.Reply:
        """Return the reply to one operation."""
        with kept() as stream:
            reply = self._tried(operation)
        if stream.text and isinstance(reply, ops.Output | ops.Returns | ops.Raised):
            return replace(reply, printed=stream.printed)
        return reply

    def _tried(self, operation: ops.Operation) -> ops.Reply:
        try:
            # A notebook that has entered inference mode and stayed in it can still be right.
            with torch.inference_mode(False):
                return self._perform(operation)
        except NothingToCall as nothing:
            trouble: ops.Trouble = ops.Absent(str(nothing))
        except (Exception, SystemExit) as error:
            trouble = describe(error)
        match operation:
            case ops.Forward(handle):
                self._calls[handle] = trouble
            case ops.Build(handle) | ops.Step(handle):
                self._descents[handle] = trouble
            case ops.Chain() | ops.Descend():
                self._last = trouble
        return trouble

    def _perform(self, operation: ops.Operation) -> ops.Reply:
        match operation:
            case ops.Forward():
                return self._forward(operation)
            case ops.Backward():
                return self._backward(operation)
            case ops.Read():
                return self._read(operation)
            case ops.Chain():
                return self._chain(operation)
            case ops.Descend():
                return self._descend(operation)
            case ops.Observe():
                with _default_dtype(operation.in_double):
                    return introspect(self._function(operation.stage), operation)
            case ops.Build(handle):
                self._descents[handle], built = build(operation, self._names)
                return built
            case ops.Step(handle):
                descent = self._descents[handle]
                return descent.step(operation) if isinstance(descent, Descent) else descent
            case ops.Collect():
                return collect(operation, self._names)

    def _forward(self, op: ops.Forward) -> ops.Reply:
        function = self._function(op.stage)
        inputs = tuple(map(copied, op.inputs, op.requires_grad))
        with torch.enable_grad(), _default_dtype(op.in_double):
            returned = function.apply(*inputs)
        outputs = outputs_of(returned)
        output = ops.Output(tuple(map(snapshot, outputs)), isinstance(returned, tuple))
        call = self._calls[op.handle] = _Call(inputs, op.inputs, output, outputs, op.in_double)
        call.keep(outputs, output.values)
        return output

    def _backward(self, op: ops.Backward) -> ops.Reply:
        call = self._calls[op.handle]
        if not isinstance(call, _Call):
            return call
        call.check(len(op.upstream))
        upstreams = [None if each is None else copy_with_layout(each) for each in op.upstream]
        call.upstreams += zip(upstreams, op.upstream, strict=True)
        if (node := node_of(call.outputs)) is not None:
            with _default_dtype(call.in_double):
                returned = call_backward(node, call.outputs, upstreams)
        elif any(each.grad_fn is not None for each in call.outputs):
            returned = built_in_gradients(call.outputs, upstreams, call.inputs)
        else:
            raise NothingToCall("The output has no backward: torch cannot trace it to the inputs")
        results = outputs_of(returned)
        values = tuple(snapshot(result) for result in results)
        call.keep(results, values)
        return ops.Returns(values)

    def _read(self, op: ops.Read) -> ops.Reply:
        call = self._calls[op.handle]
        if not isinstance(call, _Call):
            return call
        return ops.Unchanged(
            tuple(map(same, call.inputs, call.before)),
            tuple(same(now, before) for now, before in call.upstreams),
            all(same(now, before) for now, before in call.results),
        )

    def _descend(self, op: ops.Descend) -> ops.Reply:
        if not isinstance(self._last, tuple):
            return self._last
        chain, gradients = self._last
        # Out of place, from values of which the student's code has only seen copies.
        before = chain.tensors
        with torch.no_grad():
            moved = {
                name: before[name].sub(gradient, alpha=op.rate)
                for name, gradient in zip(chain.wrt, gradients, strict=False)
            }
        return self._chain(replace(chain, tensors={**before, **moved, **op.tensors}))

    def _chain(self, op: ops.Chain) -> ops.Reply:
        values: dict[str, Any] = {name: copied(value) for name, value in op.given.items()}
        values |= {
            name: _row_major(value).requires_grad_(name in op.wrt)
            for name, value in op.tensors.items()
        }
        stages = dict.fromkeys(link.stage for link in op.links if link.stage not in GLUE)
        functions = {stage: self._function(stage).apply for stage in stages}
        with torch.set_grad_enabled(bool(op.wrt)):
            run_links(op.links, functions, values)
        cost = _weighted_sum(values, op.costs) if op.costs else None
        gradients: list[Tensor] = []
        if op.wrt and cost is not None:
            leaves = [values[name] for name in op.wrt]
            found = torch.autograd.grad(cost, leaves, allow_unused=True)
            gradients = list(map(_or_nan, found, leaves))
        outputs = {name: snapshot(values[name]) for name in op.outputs}
        chained = ops.Chained(
            {name: value for name, value in outputs.items() if isinstance(value, Tensor)},
            torch.nan if cost is None else float(cost.detach()),
            torch.cat([each.flatten() for each in gradients]).detach() if gradients else None,
        )
        self._last = op, gradients
        return chained

    def _function(self, stage: str) -> Any:
        if stage in self._pairs and not self._trusted:
            return function_of(self._pairs[stage], self._names)
        if stage not in self._names:
            raise NothingToCall(f"There is no class {stage}")
        found = self._names[stage]
        if self._trusted:
            return found
        # Sigmoid = Sigmoid.apply
        found = getattr(found, "__self__", found) if is_apply(found) else found
        if not isinstance(found, type):
            raise NothingToCall(f"{stage} is {a(type(found).__name__)}, not a class")
        if not issubclass(found, torch.autograd.Function):
            raise NothingToCall(f"The class {stage} is not a torch.autograd.Function")
        return found


@contextmanager
def _default_dtype(in_double: bool) -> Iterator[None]:
    """Have torch make new tensors in float64 meanwhile, if ``in_double``."""
    before = torch.get_default_dtype()
    if in_double:
        torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        if in_double:
            torch.set_default_dtype(before)


def is_apply(value: object) -> bool:
    """Return whether it is the ``apply`` of a torch.autograd.Function."""
    owner = getattr(value, "__self__", None)
    its = isinstance(owner, type) and issubclass(owner, torch.autograd.Function)
    return its and getattr(value, "__name__", "") == "apply"


def _row_major(value: Tensor) -> Tensor:
    plain = value.detach()
    return plain.clone() if plain.is_contiguous() else plain.contiguous()


def _or_nan(gradient: Tensor | None, leaf: Tensor) -> Tensor:
    return torch.full_like(leaf, torch.nan) if gradient is None else gradient


def _weighted_sum(values: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    # In the graph: given grad_outputs, torch.autograd.grad imports far more than this.
    with torch.enable_grad():
        numbers = [
            values[name] if values[name].dim() == 0 else values[name].reshape(())
            for name in weights
        ]
        if list(weights.values()) == [1.0]:
            return numbers[0]
        shares = torch.tensor(list(weights.values()), dtype=torch.float64, device="cpu")
        return (torch.stack(numbers) * shares).sum()


def describe(error: BaseException) -> ops.Raised:
    """Return an exception as plain text, with the student's own line that it came from."""
    raised = ops.Raised(type(error).__name__, scrub(_text_of(error)))
    if last := _students(error.__traceback__):
        raised = replace(raised, **where(last))
    if isinstance(error, SyntaxError) and error.lineno and error.filename in linecache.cache:
        # In the student's own text. One in text that their code made has the line that made it.
        place, code = place_of(error.filename, error.lineno), code_at(error.filename, error.lineno)
        raised = replace(raised, place=place, code=code)
    return raised


def scrub(text: str) -> str:
    """Return the text without memory addresses, which differ from run to run."""
    plain = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return re.sub(r"0x[0-9a-fA-F]{6,}", "0x…", plain)


def _text_of(error: BaseException) -> str:
    try:
        text = str(error.msg if isinstance(error, SyntaxError) else error)
        # exit() and quit() raise with no code at all.
        text = "" if isinstance(error, SystemExit) and error.code is None else text
    except Exception as second:
        text = f"(its message could not be shown: {type(second).__name__})"
    return text if len(text) <= TEXT_LIMIT else text[:TEXT_LIMIT] + " …"


def _students(traceback: TracebackType | None) -> TracebackType | None:
    """Return the innermost call of the student's own code."""
    last = None
    while traceback is not None:
        if is_students(traceback.tb_frame.f_code.co_filename):
            last = traceback
        traceback = traceback.tb_next
    return last
