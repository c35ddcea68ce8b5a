"""The bench a probe works at: one stage of one candidate, with cases and answers at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import NoReturn

from torch import Tensor

from harness.candidate import (
    Absent,
    Backward,
    Candidate,
    Forward,
    Lost,
    Operation,
    Output,
    Raised,
    Reply,
    Returned,
    Returns,
    Trouble,
)
from harness.probes.cases import Case, cases_for
from harness.probes.numerical import gradcheck_case, gradcheck_objection
from harness.stage import Sizes, Stage


class Failed(Exception):
    """A check that failed. ``where`` names stage and edge; ``detail`` may show public values."""

    def __init__(
        self,
        where: str,
        detail: str = "",
        *,
        staff: str = "",
        case: Mapping[str, int] | None = None,
    ) -> None:
        super().__init__(where)
        self.where, self.detail, self.staff, self.case = where, detail, staff, case


class Errored(Failed):
    """A check that could not be made because the student's code raised, died or ran on."""


@contextmanager
def noting(**facts: int) -> Iterator[None]:
    """Adds ``facts`` to the case of a check that fails inside."""
    try:
        yield
    except Failed as failed:
        failed.case = {**(failed.case or {}), **facts}
        raise


class Waits(Exception):
    """A check that means nothing until the check ``id`` passes."""

    def __init__(self, check: str) -> None:
        super().__init__(check)
        self.check = check


@dataclass(frozen=True)
class Answer:
    """A candidate's answer to one case: its output, and what backward returned per upstream."""

    output: Reply
    returns: tuple[Reply, ...]


@dataclass
class Bench:
    """One stage of one candidate on trial. ``sound`` are the inputs whose gradient is right."""

    stage: Stage
    candidate: Candidate
    seed: int
    sizes: tuple[Sizes, ...]
    handles: Iterator[int] = field(default_factory=lambda: count(1))
    advice: list[str] = field(default_factory=list)
    sound: list[str] = field(default_factory=list)

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """The public example, then the hidden cases."""
        return cases_for(self.stage, self.seed, self.sizes)

    @cached_property
    def example(self) -> tuple[Reply, Answer]:
        """What forward alone makes of the public example, and the candidate's answer to it.

        Whoever has seen hidden inputs could put them into this answer, which a student reads.
        """
        public = self.cases[0]
        (output,) = self._forwards([public])
        return output, self.ask([public])[0]

    @cached_property
    def outputs(self) -> tuple[Reply, ...]:
        """What forward alone makes of each case: a backward that dies does not take it along.

        There is only the example's where that backward has left nobody to ask.
        """
        output, answer = self.example
        if any(isinstance(reply, Lost) for reply in answer.returns):
            return (output,)
        return (output, *self._forwards(self.cases[1:]))

    @cached_property
    def runs(self) -> bool:
        """Whether forward returned a tensor for every case."""
        return all(isinstance(_value(output), Tensor) for output in self.outputs)

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        """The candidate's answers to the cases, the hidden ones asked for in one go."""
        return (self.example[1], *self.ask(self.cases[1:]))

    @cached_property
    def gradcheck_case(self) -> Case:
        """The first hidden case, with the upstreams that torch's gradcheck asks about."""
        return gradcheck_case(self.stage, self.seed, self.sizes)

    @cached_property
    def gradcheck_answer(self) -> Answer:
        """The candidate's answers to the questions of torch's gradcheck."""
        return self.ask([self.gradcheck_case])[0]

    @cached_property
    def gradchecked(self) -> tuple[str, ...]:
        """The inputs whose gradients gradcheck finds right together, which takes it less time.

        None of them where it objects: it has to be asked about each then.
        """
        case, returns = self.gradcheck_case, self.gradcheck_answer.returns
        values = [reply.values for reply in returns if isinstance(reply, Returns)]
        if any(len(each) != len(case.inputs) for each in values) or len(values) < len(returns):
            return ()
        columns = {
            name: [_fitting(each[at], case.inputs[at]) for each in values]
            for at, name in enumerate(self.stage.inputs)
        }
        names = [name for name, column in columns.items() if all(x is not None for x in column)]
        if not names:
            return ()
        answers = list(zip(*(columns[name] for name in names), strict=True))
        objection = gradcheck_objection(self.stage, names, case, answers)
        return () if objection else tuple(names)

    def ask(
        self, cases: Sequence[Case], requires_grad: tuple[bool, ...] | None = None
    ) -> tuple[Answer, ...]:
        """A forward and a backward for each upstream of each case, in one call to the candidate.

        No backward runs twice: what it must leave as it was for a second one is a matter of
        manners, not of the gradient.
        """
        script: list[Operation] = []
        for case in cases:
            needed = requires_grad or (True,) * len(case.inputs)
            for upstream in case.upstreams:
                handle = next(self.handles)
                script.append(Forward(handle, self.stage.name, case.inputs, needed))
                script.append(Backward(handle, upstream))
        replies = iter(self.candidate.perform(script))
        return tuple(_answer(replies, len(case.upstreams)) for case in cases)

    def _forwards(self, cases: Sequence[Case]) -> list[Reply]:
        name = self.stage.name
        return self.candidate.perform(
            [
                Forward(next(self.handles), name, case.inputs, (True,) * len(case.inputs))
                for case in cases
            ]
        )

    def output(self, reply: Reply, case: Case) -> Returned:
        """What forward returned; Failed where there is nothing to call, Errored on trouble."""
        if isinstance(reply, Trouble):
            self.trouble(reply, "forward", case)
        assert isinstance(reply, Output)
        return reply.value

    def returned(self, answer: Answer, turn: int, case: Case) -> tuple[Returned, ...]:
        """What backward returned for upstream ``turn``; waits for a forward that cannot run."""
        if not self.runs:
            raise Waits(f"{self.stage.slug}/forward")
        self.output(answer.output, case)
        reply = answer.returns[turn]
        if isinstance(reply, Trouble):
            self.trouble(reply, "backward", case, turn)
        assert isinstance(reply, Returns)
        return reply.values

    def trouble(
        self, trouble: Trouble, phase: str, case: Case, turn: int | None = None
    ) -> NoReturn:
        """Raises the failure that stands for a candidate that could not answer.

        An exception's text may carry values out, so a student reads it of the example only.
        """
        where, facts = f"{self.stage.name}.{phase}", case.facts(turn)
        match trouble:
            case Absent(reason):
                raise Failed(f"{reason}.", staff=reason, case=facts)
            case Lost(reason):
                raise Errored(f"{where} {reason}.", staff=reason, case=facts)
            case Raised(kind, text, place, code):
                at = f" at {place}" if place else ""
                line = f": `{code}`" if code else ""
                staff = f"{kind}: {text}{at}{line}"
                if kind == "NotImplementedError":
                    raise Errored(
                        f"{where} is not written yet: it raises NotImplementedError{at}.",
                        staff=staff,
                        case=facts,
                    )
                said = f": {text}" if text and self._is_of_example(trouble) else ""
                raise Errored(
                    f"{where} raised {kind}{at}{said}" + ("" if said.endswith(".") else "."),
                    f"The line is `{code}`." if code else "",
                    staff=staff,
                    case=facts,
                )

    def _is_of_example(self, reply: Reply) -> bool:
        output, answer = self.example
        return any(reply is each for each in (output, answer.output, *answer.returns))

    def advise(self, text: str) -> None:
        """Adds advice, once."""
        if text not in self.advice:
            self.advice.append(text)


def _answer(replies: Iterator[Reply], turns: int) -> Answer:
    """The next answer: the first turn's output, and what backward returned in each turn."""
    outputs, returns = zip(*((next(replies), next(replies)) for _ in range(turns)), strict=True)
    return Answer(outputs[0], returns)


def _value(reply: Reply) -> Returned:
    return reply.value if isinstance(reply, Output) else None


def _fitting(value: Returned, given: Tensor) -> Tensor | None:
    """A gradient that torch's engine takes as it is."""
    fits = isinstance(value, Tensor) and value.is_floating_point() and value.shape == given.shape
    return value if isinstance(value, Tensor) and fits else None
