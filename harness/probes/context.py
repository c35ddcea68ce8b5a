"""The context of a probe: one stage of one candidate, with its cases and the answers to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any, NoReturn

import torch
from torch import Tensor

from harness.candidate import operations as ops
from harness.cases.cases import Case, cases_for, sizes_for
from harness.causes.explaining import NOWHERE, explanation, is_mixture
from harness.causes.explaining import Call as RaisingCall
from harness.course.inputs import Sizes
from harness.course.numbers import number
from harness.course.sizes import covering
from harness.course.stage import Stage, Upstream
from harness.language import tr
from harness.probes.numerical import gradcheck_case

# What torch suggests at the end of a sentence helps nobody here.
_ADVICE_OF_TORCH = re.compile(r"\.? Hint: .*", re.DOTALL)
# What forward returned, one value for each output that it should return if it did so.
Outputs = tuple[ops.Returned, ...]


class Failed(Exception):
    """A check that failed. ``where`` names stage and edge; ``detail`` may show values.

    The judge decides whether a student may read them. ``got`` is the wrong value, if a single
    value is wrong, and ``at`` its index.
    """

    def __init__(
        self,
        where: str,
        detail: str = "",
        *,
        staff: str = "",
        case: Mapping[str, Any] | None = None,
        got: float | None = None,
        at: tuple[int, ...] = (),
    ) -> None:
        super().__init__(where)
        self.where, self.detail, self.staff, self.case = where, detail, staff, case
        self.got, self.at = got, at

    def restated(self, where: str, detail: str = "") -> Failed:
        """Return the same failure in other words."""
        return Failed(where, detail, staff=self.staff, case=self.case, got=self.got)


class Errored(Failed):
    """A check that could not be made: the student's code raised, died or ran out of time."""


@contextmanager
def noting(**facts: int) -> Iterator[None]:
    """Add ``facts`` to the case of a check that fails inside."""
    try:
        yield
    except Failed as failed:
        failed.case = {**(failed.case or {}), **facts}
        raise


@contextmanager
def restating(where: str, detail: str) -> Iterator[None]:
    """Put the failure of a check inside into other words."""
    try:
        yield
    except Failed as failed:
        raise failed.restated(where, detail) from None


class Waits(Exception):
    """A check that means nothing until the check ``id`` passes."""

    def __init__(self, check: str) -> None:
        super().__init__(check)
        self.check = check


@dataclass(frozen=True, eq=False)
class Call:
    """A forward and a backward of one case, and the candidate's answers.

    ``index`` is the upstream's index in the case, ``needed`` says which arguments need a gradient:
    those that have one, unless it is given.
    """

    context: StageContext
    case: Case
    index: int
    forward: ops.Reply
    backward: ops.Reply
    needed: tuple[bool, ...] = ()

    @cached_property
    def outputs(self) -> Outputs:
        """The return values of forward. Raise Failed if there are none."""
        return self.context.output(self.forward, self.case)

    @cached_property
    def values(self) -> tuple[ops.Returned, ...]:
        """The return values of backward.

        Raise Waits if forward does not run for every case, Failed if there is nothing to call, and
        Errored if it raised, died or ran out of time.
        """
        if not self.context.runs:
            raise Waits(f"{self.context.stage.slug}/forward")
        _ = self.outputs
        if isinstance(self.backward, ops.Trouble):
            self.context.fail(self.backward, "backward", self.case, self.index)
        assert isinstance(self.backward, ops.Returns)
        return self.backward.values

    @property
    def upstream(self) -> Upstream:
        """The upstream gradient that backward was given."""
        return self.case.upstreams[self.index]

    @property
    def elsewhere(self) -> str:
        """The beginning of a sentence on a case other than the example."""
        return elsewhere(self.context, self.case, self.index)

    def failed(self, where: str, detail: str, staff: str = "", **value: Any) -> Failed:
        """Return the failure of a check over this call."""
        return Failed(where, detail, staff=staff, case=self.case.facts(self.index), **value)


@dataclass
class StageContext:
    """One stage of one candidate. ``sound`` are the inputs whose gradient is right.

    ``first`` is the context of another session that has asked about the public example already.
    """

    stage: Stage
    candidate: ops.Candidate
    seed: int
    handles: Iterator[int] = field(default_factory=lambda: count(1))
    first: StageContext | None = None
    advice: list[str] = field(default_factory=list)
    sound: list[str] = field(default_factory=list)
    # Why it can only be judged with new tensors in float64 by default, if that is so.
    mixed: Failed | None = None

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """The public example, then the cases of the seed."""
        return cases_for(self.stage, self.seed, self.stage.sizes)

    def sizes_for(self, purpose: str) -> tuple[Sizes, ...]:
        """Return sizes that the seed chooses for the cases of a check, with every choice."""
        return covering(self.stage, sizes_for(purpose, self.seed, self.stage, self.stage.sizes))

    @cached_property
    def example(self) -> tuple[ops.Reply, list[Call]]:
        """The answers to the public example: to a forward alone, and to calls."""
        if self.first is not None:
            output, calls = self.first.example
            self.mixed = self.first.mixed
            return output, [replace(call, context=self) for call in calls]
        found = self._asked_about_example()
        if (mixed := self._mixture(found)) is None:
            return found
        # Those who make float32 with every right formula are told so by the check of precision.
        self.mixed, before = mixed, found
        found = self._asked_about_example()
        if self._mixture(found) is None:
            return found
        self.mixed = None
        return before

    def _asked_about_example(self) -> tuple[ops.Reply, list[Call]]:
        public = self.cases[0]
        (output,) = self._forwards([public])
        return output, self.ask([public])

    def _mixture(self, found: tuple[ops.Reply, list[Call]]) -> Failed | None:
        """Return the failure of the answers in which float32 has met float64, if one has."""
        output, calls = found
        for phase, reply in (("forward", output), *(("backward", call.backward) for call in calls)):
            if isinstance(reply, ops.Raised) and is_mixture(reply):
                return self.failure(reply, phase, self.cases[0], 0)
        return None

    @property
    def lives(self) -> bool:
        """Return whether the candidate survived the backward of the example."""
        return not any(isinstance(call.backward, ops.Lost) for call in self.example[1])

    @cached_property
    def outputs(self) -> tuple[ops.Reply, ...]:
        """The answers to forwards alone: a backward that dies does not take them along.

        There is only the example's if the candidate did not survive that backward.
        """
        output = self.example[0]
        return (output, *self._forwards(self.cases[1:])) if self.lives else (output,)

    @cached_property
    def runs(self) -> bool:
        """Whether forward returned a tensor for every output of every case."""
        return all(
            isinstance(reply, ops.Output) and self._are_tensors(self.output(reply, case))
            for case, reply in zip(self.cases, self.outputs, strict=False)
        )

    def _are_tensors(self, values: Outputs) -> bool:
        every = len(values) == len(self.stage.outputs)
        return every and all(isinstance(value, Tensor) for value in values)

    @cached_property
    def _others(self) -> list[Call]:
        return self.ask(self.cases[1:])

    @property
    def outputs_one_by_one(self) -> Iterator[tuple[Case, ops.Reply]]:
        """Each case with its output; the example comes before the others are asked about."""
        yield self.cases[0], self.example[0]
        yield from zip(self.cases[1:], self.outputs[1:], strict=False)

    @property
    def calls(self) -> Iterator[Call]:
        """The calls of every case; the example comes before the others are asked about."""
        yield from self.example[1]
        yield from self._others

    @cached_property
    def gradcheck_calls(self) -> list[Call]:
        """The candidate's answers to the questions of torch's gradcheck."""
        return self.ask([gradcheck_case(self.stage, self.seed, self.stage.sizes)])

    def ask(
        self, cases: Sequence[Case], requires_grad: tuple[bool, ...] | None = None
    ) -> list[Call]:
        """Ask for a forward and a backward for each upstream of each case, all at once.

        No backward runs twice: what a second one needs is a matter of robustness, not of the
        gradient.
        """
        asked = [(case, index) for case in cases for index in range(len(case.upstreams))]
        script: list[ops.Operation] = []
        for case, index in asked:
            handle = next(self.handles)
            script.append(self.forward_of(case, handle, requires_grad))
            script.append(ops.Backward(handle, case.upstreams[index]))
        replies = iter(self.candidate.perform(script) if script else ())
        return [
            Call(self, *each, next(replies), next(replies), requires_grad or ()) for each in asked
        ]

    def forward_of(
        self, case: Case, handle: int, requires_grad: tuple[bool, ...] | None = None
    ) -> ops.Forward:
        """Return the operation that calls forward on the inputs of a case."""
        needed = requires_grad or self.stage.with_gradient(case.inputs)
        return ops.Forward(handle, self.stage.name, case.inputs, needed, self.in_double(case))

    def in_double(self, case: Case) -> bool:
        """Return whether new tensors are to be float64 by default in the calls of a case."""
        dtypes = {each.dtype for each in case.inputs if isinstance(each, Tensor)}
        return self.mixed is not None and torch.float32 not in dtypes

    def _forwards(self, cases: Sequence[Case]) -> list[ops.Reply]:
        return self.candidate.perform([self.forward_of(case, next(self.handles)) for case in cases])

    def output(self, reply: ops.Reply, case: Case) -> Outputs:
        """Return what forward returned. Raise Failed if there is nothing."""
        if isinstance(reply, ops.Trouble):
            self.fail(reply, "forward", case)
        assert isinstance(reply, ops.Output)
        # A single output in a tuple is not a tensor.
        return reply.values if len(self.stage.outputs) > 1 else (reply.value,)

    def fail(
        self, trouble: ops.Trouble, phase: str, case: Case, index: int | None = None
    ) -> NoReturn:
        """Raise the failure of a check whose call could not be answered."""
        raise self.failure(trouble, phase, case, index)

    def failure(
        self, trouble: ops.Trouble, phase: str, case: Case, index: int | None = None
    ) -> Failed:
        """Return the failure of a check whose call could not be answered."""
        call = RaisingCall(self.stage, phase, case.sizes)
        name = self.stage.forward_name if phase == "forward" else self.stage.backward_name
        said, detail = in_words(name, trouble, call)
        if case.sizes != self.cases[0].sizes:
            at = circumstances(self, case, index)
            detail = (
                tr("It runs for the example, and not for other sizes {at}. {detail}")
                .format(at=at, detail=detail)
                .strip()
            )
        kind = Failed if isinstance(trouble, ops.Absent) else Errored
        return kind(said, detail, staff=for_staff(trouble), case=case.facts(index))

    def advise(self, text: str) -> None:
        """Add advice, once."""
        if text not in self.advice:
            self.advice.append(text)


def in_words(what: str, trouble: ops.Trouble, call: RaisingCall = NOWHERE) -> tuple[str, str]:
    """Return a sentence on the trouble with ``what``, and the line with what explains it."""
    why = "" if isinstance(trouble, ops.Lost) else explanation(trouble, call)
    match trouble:
        case ops.Raised(kind, text, place, code):
            at = f" at {place}" if place else ""
            # Torch raises it too, with a text, for what it does not support.
            if kind == "NotImplementedError" and (not text or kind in code):
                return tr("{what} is not written yet: it raises NotImplementedError{at}.").format(
                    what=what, at=at
                ), ""
            if kind == "BdbQuit":
                where = f" in {place}" if place else ""
                return tr("{what} stopped in the debugger: remove the breakpoint{where}.").format(
                    what=what, where=where
                ), ""
            text = _ADVICE_OF_TORCH.sub("", text)
            said = f"{what} raised {kind}{at}" + (f": {text}" if text else "")
            line = tr("The line is `{code}`. ").format(code=code) if code else ""
            return said.removesuffix(".") + ".", (line + why).strip()
        case ops.Lost(reason):
            return f"{what} {reason}.", ""
        case ops.Absent(reason):
            return f"{reason}.", why


def for_staff(trouble: ops.Trouble) -> str:
    """Return the trouble as an instructor reads it."""
    if not isinstance(trouble, ops.Raised):
        return trouble.reason
    at = f" at {trouble.place}" if trouble.place else ""
    line = f": `{trouble.code}`" if trouble.code else ""
    return f"{trouble.kind}: {trouble.text}{at}{line}"


def circumstances(context: StageContext, case: Case, index: int | None = None) -> str:
    """Return the case in brackets: its numbers, or its sizes if it holds tensors."""
    if context.stage.is_scalar:
        upstream = () if index is None else case.upstreams[index]
        given = zip(context.stage.upstreams, upstream, strict=False)
        named = {**dict(zip(context.stage.inputs, case.inputs, strict=True)), **dict(given)}
        numbers = {name: float(each) for name, each in named.items() if isinstance(each, Tensor)}
        parts = [f"{name} = {number(value)}" for name, value in numbers.items()]
    else:
        parts = [_in_words(name, size) for name, size in case.sizes.items()]
    used = () if index is None else case.upstreams[index]
    pairs = zip(context.stage.outputs, used, strict=False)
    if any(each is not None for each in used):
        parts += [
            tr("{name} is not used").format(name=name) for name, each in pairs if each is None
        ]
    return f"({', '.join(parts)})" if parts else ""


def _in_words(name: str, size: object) -> str:
    """Return a size, a given value, or which tensors there are."""
    match name[-1], size:
        case "?", bool():
            return f"{name[:-1]} is {'given' if size else 'None'}"
        case "*", _:
            return f"{size} tensors"
    return f"{name} = {size!r}"


def elsewhere(context: StageContext, case: Case, index: int | None = None) -> str:
    """Return the beginning of a sentence on a case other than the example."""
    where = circumstances(context, case, index)
    return tr("It is right for the example; for other values {where}, ").format(where=where)
