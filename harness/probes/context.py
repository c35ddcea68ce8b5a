"""The bench a probe works at: one stage of one candidate, with cases and answers at hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import NoReturn

from torch import Tensor

from harness.candidate.operations import (
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
from harness.course.stage import Sizes, Stage
from harness.probes.cases import Case, cases_for, sizes_for
from harness.probes.compare import number
from harness.probes.numerical import gradcheck_case, gradcheck_objection


class Failed(Exception):
    """A check that failed. ``where`` names stage and edge; ``detail`` may show values.

    Whether a student may read them is for the judge to know. ``got`` is the wrong value, if it is
    one value that is wrong.
    """

    def __init__(
        self,
        where: str,
        detail: str = "",
        *,
        staff: str = "",
        case: Mapping[str, int] | None = None,
        got: float | None = None,
    ) -> None:
        super().__init__(where)
        self.where, self.detail, self.staff, self.case = where, detail, staff, case
        self.got = got

    def restated(self, where: str, detail: str = "") -> Failed:
        """The same failure, for a check that has its own words for it."""
        return Failed(where, detail, staff=self.staff, case=self.case, got=self.got)


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
    """One stage of one candidate on trial. ``sound`` are the inputs whose gradient is right.

    ``first`` is the bench of another trial that has asked about the public example already.
    """

    stage: Stage
    candidate: Candidate
    seed: int
    sizes: tuple[Sizes, ...]
    handles: Iterator[int] = field(default_factory=lambda: count(1))
    advice: list[str] = field(default_factory=list)
    sound: list[str] = field(default_factory=list)
    first: Bench | None = None

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """The public example, then the cases of the seed."""
        return cases_for(self.stage, self.seed, self.sizes)

    def sizes_for(self, purpose: str) -> Sizes:
        """The sizes of the cases of a check, which the seed chooses."""
        return sizes_for(purpose, self.seed, self.sizes)[0]

    @cached_property
    def example(self) -> tuple[Reply, Answer]:
        """What forward alone makes of the public example, and the candidate's answer to it."""
        if self.first is not None:
            return self.first.example
        public = self.cases[0]
        (output,) = self._forwards([public])
        return output, self.ask([public])[0]

    @property
    def lives(self) -> bool:
        """Whether the backward of the example has left somebody to ask."""
        return not any(isinstance(reply, Lost) for reply in self.example[1].returns)

    @cached_property
    def outputs(self) -> tuple[Reply, ...]:
        """What forward alone makes of each case: a backward that dies does not take it along.

        There is only the example's where that backward has left nobody to ask.
        """
        output = self.example[0]
        return (output, *self._forwards(self.cases[1:])) if self.lives else (output,)

    @cached_property
    def runs(self) -> bool:
        """Whether forward returned a tensor for every case."""
        return all(isinstance(_value(output), Tensor) for output in self.outputs)

    @cached_property
    def answers(self) -> tuple[Answer, ...]:
        """The candidate's answers to the cases, those after the example asked for in one go."""
        return (self.example[1], *self.ask(self.cases[1:]))

    def outputs_one_by_one(self) -> Iterator[tuple[Case, Reply]]:
        """Each case with its output; nothing is asked before the example's has been looked at."""
        yield self.cases[0], self.example[0]
        yield from zip(self.cases[1:], self.outputs[1:], strict=False)

    def answers_one_by_one(self) -> Iterator[tuple[Case, Answer]]:
        """Each case with its answer; nothing is asked before the example's has been looked at."""
        yield self.cases[0], self.example[1]
        yield from zip(self.cases[1:], self.answers[1:], strict=True)

    @cached_property
    def gradcheck_case(self) -> Case:
        """A case of its own, with the upstreams that torch's gradcheck asks about."""
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
        """Raises the failure that stands for a candidate that could not answer."""
        said, detail = in_words(f"{self.stage.name}.{phase}", trouble)
        kind = Failed if isinstance(trouble, Absent) else Errored
        raise kind(said, detail, staff=for_staff(trouble), case=case.facts(turn))

    def advise(self, text: str) -> None:
        """Adds advice, once."""
        if text not in self.advice:
            self.advice.append(text)


def in_words(what: str, trouble: Trouble) -> tuple[str, str]:
    """A sentence on the trouble with ``what``, and one that quotes the line."""
    match trouble:
        case Raised(kind, text, place, code):
            at = f" at {place}" if place else ""
            if kind == "NotImplementedError":
                return f"{what} is not written yet: it raises NotImplementedError{at}.", ""
            said = f"{what} raised {kind}{at}" + (f": {text}" if text else "")
            return said.removesuffix(".") + ".", f"The line is `{code}`." if code else ""
        case Lost(reason):
            return f"{what} {reason}.", ""
        case Absent(reason):
            return f"{reason}.", ""


def for_staff(trouble: Trouble) -> str:
    """The trouble as an instructor reads it."""
    if not isinstance(trouble, Raised):
        return trouble.reason
    at = f" at {trouble.place}" if trouble.place else ""
    line = f": `{trouble.code}`" if trouble.code else ""
    return f"{trouble.kind}: {trouble.text}{at}{line}"


def circumstances(bench: Bench, case: Case, turn: int | None = None) -> str:
    """The case in brackets: its numbers, to follow by hand, or its sizes where it holds tensors."""
    if bench.stage.is_scalar:
        upstream = {} if turn is None else {"g": case.upstreams[turn]}
        named = {**dict(zip(bench.stage.inputs, case.inputs, strict=True)), **upstream}
        parts = [f"{name} = {number(float(value))}" for name, value in named.items()]
    else:
        parts = [f"{name} = {size}" for name, size in case.sizes.items()]
    return f"({', '.join(parts)})"


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
