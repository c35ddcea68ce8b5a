"""What a child says in words, restricted to the student's own source before anyone reads it.

A student's code can alter all that its process says. A line's place and text, and the names of
types, go into messages that students read, so they must not carry hidden inputs out.
"""

import builtins
import re
from collections.abc import Sequence
from dataclasses import replace

import torch

from grading.confined.wire import LATER, Statement
from grading.parsing.source import Source
from harness.candidate import operations as ops
from harness.candidate.lines import CODE_LIMIT
from harness.candidate.workbench import TEXT_LIMIT, scrub
from harness.judging.vocabulary import is_node, is_word

MADE_UP = "an exception of a type made up on the way"
NOTHING_THERE = "There is nothing to call"
MOST_NAMES = 1_000
MOST_LINES = 10**9
# Names of types that tell nothing, besides Python's own.
_COMMON = frozenset(
    {"ndarray", "Parameter", "Size", "float64", "float32", "OutOfMemoryError", "BdbQuit"}
    | {"NoneType", "function", "module", "method", "builtin_function_or_method", "generator"}
    | {"array", "tensor", "number"}
)
# In one spelling only: leading zeros, or digits of another script, could carry information.
_PLACE = re.compile(r"(?:(cell [1-9][0-9]{0,5}|\S+\.py), )?line ([1-9][0-9]{0,6})")
# All that a workbench says about what is absent, with the names in it.
_ABSENT = re.compile(
    r"There is no (?:class|function) (\w+)|(\w+) is an? (\w+), not a class|(\w+) is not a function"
    r"|(\w+) returned (?:None|[0-9] values?|an? (?:single )?(\w+)), not "
    r"(?:(?:an output|[2-9] outputs) and (?:a cache|its gradients)|the gradients? of ([\w, ]+))"
    r"|(\w+) is not a class of torch\.optim\.Optimizer"
    r"|The class (\w+) is not a torch\.autograd\.Function"
    r"|forward did not return a tensor(?: for each output)?, so there is no backward to call"
    r"|The output has no backward: torch cannot trace it to the inputs"
    r"|There is no chain to go on from"
)
TORCHS_OPTIMIZERS = frozenset(name for name in dir(torch.optim) if name[0].isupper())
_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/'\"()<>:]+/)+")
_TENSOR = re.compile(r"(?:bfloat|bool|complex|float|u?int)\d* \((?:\d{1,6},? ?){0,8}\)")
_TENSORS = re.compile(r"(?:(\w{1,20}) )?tensor\b( of .*)?")
# What is told of a tensor that is not an ordinary one: its device, its layout, or its dtype.
_OF_TENSORS = frozenset(
    {"cuda", "meta", "mps", "xpu", "mkldnn", "nested", "quantized", "sparse"}
    | {
        str(each).removeprefix("torch.")
        for each in vars(torch).values()
        if isinstance(each, torch.dtype)
    }
)


def plain(text: str) -> str:
    """Return text cut to a limit, without memory addresses and folders of this machine."""
    return _FOLDERS.sub("…/", scrub(text[:TEXT_LIMIT]))


def _printed(printed: ops.Printed) -> ops.Printed:
    """Return what was printed, as `plain` text, and a number of lines that it can have."""
    text, lines = printed
    return plain(text), max(0, min(lines, MOST_LINES))


def _torchs_own(seen: Sequence[ops.Seen]) -> tuple[ops.Seen, ...]:
    """Return the optimizers that torch has, once."""
    own = (each.what for each in seen if each.what in TORCHS_OPTIMIZERS)
    return tuple(ops.Seen(what, "") for what in dict.fromkeys(own))


class Redactor:
    """Knows the names and the lines of a source, and the ``stages`` that were asked for."""

    def __init__(self, source: Source) -> None:
        cells = (*source.cells, *source.modules)
        self._lines = {
            cell.name.strip("<>") if source.notebook else "": cell.text.split("\n")
            for cell in source.cells
        } | {cell.name: cell.text.split("\n") for cell in source.modules}
        pairs = source.pairs.values()
        self.stages = {name for pair in pairs for name in pair.functions}
        self.stages |= {", ".join(pair.needed) for pair in pairs}
        self._names = {name for cell in cells for name in re.findall(r"[^\W\d]\w*", cell.text)}

    def own(self, reply: ops.Reply) -> ops.Reply:
        """Return the reply with no other words in it than those of the source and of Python."""
        match reply:
            case ops.Raised(kind, text, place, _, part, names, printed):
                kind, line = self.name(kind, MADE_UP), self._line(place)
                part = part if part in line else ""
                known = tuple(each for each in map(self._typed, names) if each[0] in self._names)
                place = self.place(place)
                return ops.Raised(kind, plain(text), place, line, part, known, _printed(printed))
            case ops.Output(values, several, printed):
                return ops.Output(tuple(map(self._value, values)), several, _printed(printed))
            case ops.Returns(values, printed):
                return ops.Returns(tuple(map(self._value, values)), _printed(printed))
            case ops.Built(bases):
                return ops.Built(_torchs_own(bases))
            case ops.Stepped(parameters):
                values = tuple(map(self._value, parameters))
                return replace(reply, parameters=values, bases=_torchs_own(reply.bases))
            case ops.Observed(named, dispatched, packed, differences, built_in):
                return replace(
                    reply,
                    named=self._seen(named),
                    dispatched=self._seen(dispatched),
                    packed=self._seen(packed),
                    differences=self._seen(differences),
                    built_in=built_in if not built_in or is_node(built_in) else "function",
                    second=reply.second and tuple(map(self._value, reply.second)),
                )
            case ops.Absent(reason):
                return ops.Absent(self._reason(reason))
        return reply

    def statement(self, failed: Statement) -> Statement:
        """Return a statement that failed, restricted as `own` restricts a reply."""
        kind = LATER if failed.kind == LATER else self.name(failed.kind, MADE_UP)
        defines = [name for name in failed.defines[:MOST_NAMES] if name in self._names]
        return Statement(self.place(failed.place), kind, plain(failed.text), defines)

    def _typed(self, named: tuple[str, str]) -> tuple[str, str]:
        """Return a variable with a type that is known, or a tensor's dtype and shape."""
        name, kind = named
        bare = kind.removeprefix("Function ").removesuffix("Backward")
        known = _TENSOR.fullmatch(kind) or self._is_known(bare)
        return name, kind if known else "object"

    def name(self, name: str, otherwise: str) -> str:
        """Return a type's name if it is known or in the source."""
        return name if self._is_known(name) else otherwise

    def place(self, place: str) -> str:
        """Return a place if the source has it, else an empty string."""
        return place if self._found(place) is not None else ""

    def _is_known(self, name: str) -> bool:
        return hasattr(builtins, name) or name in _COMMON or name in self._names

    def _reason(self, reason: str) -> str:
        match = _ABSENT.fullmatch(reason)
        names = filter(None, match.groups()) if match else ()
        own = all(name in self.stages or self._is_known(name) for name in names)
        return reason if match and own else NOTHING_THERE

    def _seen(self, seen: Sequence[ops.Seen]) -> tuple[ops.Seen, ...]:
        """Return what is told in the harness's own words, once: repeating tells nothing."""
        told = (
            ops.Seen(each.what, self.place(each.place), self._line(each.place))
            for each in seen
            if is_word(each.what)
        )
        return tuple(dict.fromkeys(told))

    def _line(self, place: str) -> str:
        return (self._found(place) or "").strip()[:CODE_LIMIT]

    def _found(self, place: str) -> str | None:
        match = _PLACE.fullmatch(place)
        lines = self._lines.get(match[1] or "") if match else None
        if match is None or lines is None or not 0 < int(match[2]) <= len(lines):
            return None
        return lines[int(match[2]) - 1]

    def _value(self, value: ops.Returned) -> ops.Returned:
        if not isinstance(value, ops.Other):
            return value
        if tensor := _TENSORS.fullmatch(value.kind):
            if tensor[1] in _OF_TENSORS and not tensor[2]:
                return value
            return replace(value, kind="tensor of another kind or size than the engine takes")
        return replace(value, kind=self.name(value.kind, "object"))
