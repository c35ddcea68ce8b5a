"""What goes over the wire: typed messages of plain data. Nothing that arrives is executed.

Operations and replies are the dataclasses of `harness.candidate.operations`. On the wire each is an
array of its class's name and its fields, which `_FORMS` bounds by their types. The tensors of all
that are sent together come beside them: see `grading.confined.tensors`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from operator import attrgetter
from typing import Annotated, Any, NamedTuple, Union, get_args, get_type_hints

import msgspec
from msgspec.structs import astuple, replace
from torch import Tensor

from grading.confined import tensors
from grading.confined.channel import ProtocolError
from grading.confined.tensors import Answered, Asked, Stack, Unpacking
from grading.parsing.choosing import Sought
from grading.parsing.features import Details
from grading.parsing.source import CODE_LIMIT, Source
from harness.candidate import operations as ops

REQUEST_LIMIT = 64 * 1024 * 1024
REPLY_LIMIT = 16 * 1024 * 1024
PARSED_LIMIT = CODE_LIMIT + 2 * 1024 * 1024
MOST_REPLIES = 10_000
MOST_VALUES = 100  # that one backward returns
# Of introspection: pieces of each kind, and letters of each word.
MOST_SEEN = 100
MOST_LETTERS = 100
# Answers of so many bytes are kept for when the same ones come again.
SMALL_ANSWERS = 64 * 1024

Frame = bytes | memoryview


class Parse(msgspec.Struct, frozen=True, tag="parse"):
    """Read the files called ``names``, which follow, a frame each, as one submission's code.

    With ``compared``, what `similar` compares is wanted in place of the code.
    """

    call: int
    names: list[str]
    sought: Sought
    compared: bool = False


class Define(msgspec.Struct, frozen=True, tag="define"):
    """Run the statements, but not those in ``skip``; from ``until`` on, only definitions."""

    call: int
    source: Source
    skip: list[int]
    until: int | None


class Perform(msgspec.Struct, frozen=True, tag="perform"):
    """Do the operations in order, with these tensors: `operations_of` returns them.

    Replies to quick ones can wait for each other, unless each is wanted ``at_once``.
    """

    call: int
    operations: list[msgspec.Raw]
    at_once: bool
    stacks: list[Stack]


Request = Parse | Define | Perform


class Parsed(msgspec.Struct, frozen=True, tag="parsed"):
    """The code of a submission, or what is compared of it; without any, ``reason`` says why.

    ``undecided``: a person has to decide, for that reason. ``exhausted``: there was too little
    memory or stack.
    """

    call: int
    source: Source | None = None
    details: Details | None = None
    reason: str = ""
    undecided: bool = False
    exhausted: bool = False


class Started(msgspec.Struct, frozen=True, tag="started"):
    """The statement ``index`` is about to run."""

    call: int
    index: int
    place: str


# The kind of a statement that was run again in the end, and then did not raise.
LATER = "later"


class Statement(msgspec.Struct, frozen=True):
    """A top-level statement that raised, and the names it would have defined."""

    place: str
    kind: str
    text: str
    defines: list[str]


class Defined(msgspec.Struct, frozen=True, tag="defined"):
    """All statements have run. ``unusable`` says why there is no code at all to run."""

    call: int
    failed: list[Statement]
    unusable: str


class Answers(msgspec.Struct, frozen=True, tag="answers"):
    """The replies to some operations of a call that follow each other, from ``first`` on.

    `replies_of` returns them, with these tensors.
    """

    call: int
    first: int
    replies: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MOST_REPLIES)]
    stacks: list[Stack] = []


FromChild = Parsed | Started | Defined | Answers

# A message as bytes; and back, one to a child.
encode = msgspec.msgpack.Encoder().encode
decode_request: Callable[[Frame], Request] = msgspec.msgpack.Decoder(Request).decode
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)
# A child cannot report its own death.
_REPLIES = tuple(each for each in get_args(ops.Reply) if each is not ops.Lost)
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_from_child(frame: Frame) -> FromChild:
    """Return a message from a child. Raise ProtocolError for anything but a well-formed one."""
    try:
        return _from_child.decode(frame)
    except _MALFORMED as error:
        raise ProtocolError(str(error)) from None


# Of a value, given the tensors of the message first: `Asked`, `Answered` or `Unpacking`.
_Convert = Callable[[Any, Any], Any]


class _Form(NamedTuple):
    """A field's type on the wire, and what turns its value into that and back."""

    type: Any
    to_wire: _Convert | None = None
    from_wire: _Convert | None = None


def _each(convert: _Convert, most: int | None = None) -> _Convert:
    """Return what converts every value of the first ``most``, and leaves None alone."""
    return lambda beside, values: (
        None if values is None else tuple([convert(beside, value) for value in values[:most]])
    )


def _named(convert: _Convert) -> _Convert:
    """Return what converts every value of a mapping."""
    return lambda beside, values: {name: convert(beside, value) for name, value in values.items()}


def _or_none(convert: _Convert) -> _Convert:
    """Return what converts a value, and leaves None alone."""
    return lambda beside, value: None if value is None else convert(beside, value)


Word = Annotated[str, msgspec.Meta(max_length=MOST_LETTERS)]
_Values = Annotated[list[tensors.ReturnedData], msgspec.Meta(max_length=MOST_VALUES)]
_Lines = Annotated[list[tuple[Word, Word]], msgspec.Meta(max_length=MOST_SEEN)]
_Settings = Annotated[dict[str, tensors.ValueData], msgspec.Meta(max_length=tensors.MOST_NAMES)]
_Named = Annotated[dict[str, tensors.At], msgspec.Meta(max_length=tensors.MOST_NAMES)]
_Case = Annotated[dict[Word, tensors.ReturnedData], msgspec.Meta(max_length=MOST_VALUES)]

_returned = tensors.returned_data, tensors.returned_of
_several_returned = _each(tensors.returned_data, MOST_VALUES), _each(tensors.returned_of)
_settings = _named(tensors.value_data), _named(tensors.value_of)

# By the type of a field. Those of other types are sent as they are.
_FORMS: dict[Any, _Form] = {
    get_type_hints(ops.Forward)["inputs"]: _Form(
        Annotated[list[tensors.ValueData], msgspec.Meta(max_length=tensors.MOST_ITEMS)],
        _each(tensors.value_data),
        _each(tensors.value_of),
    ),
    get_type_hints(ops.Chain)["given"]: _Form(_Settings, *_settings),
    get_type_hints(ops.Build)["settings"]: _Form(
        Annotated[list[_Settings], msgspec.Meta(max_length=tensors.MOST_ITEMS)],
        *map(_each, _settings),
    ),
    tuple[Tensor | None, ...]: _Form(
        Annotated[list[tensors.At | None], msgspec.Meta(max_length=tensors.MOST_ITEMS)],
        _each(_or_none(Asked.case)),
        _each(_or_none(Unpacking.at)),
    ),
    Mapping[str, Tensor]: _Form(
        _Named, _named(lambda beside, value: beside.at(value)), _named(Unpacking.at)
    ),
    Tensor | None: _Form(tensors.At | None, _or_none(Answered.at), _or_none(Unpacking.at)),
    ops.Returned: _Form(tensors.ReturnedData, *_returned),
    tuple[ops.Returned, ...]: _Form(_Values, *_several_returned),
    tuple[ops.Returned, ...] | None: _Form(_Values | None, *_several_returned),
    get_type_hints(ops.Collected)["cases"]: _Form(
        Annotated[list[_Case], msgspec.Meta(max_length=MOST_VALUES)],
        _each(_named(tensors.returned_data)),
        _each(_named(tensors.returned_of)),
    ),
    # Without the code, which is in the source.
    tuple[ops.Seen, ...]: _Form(
        _Lines,
        _each(lambda _, seen: (seen.what[:MOST_LETTERS], seen.place), MOST_SEEN),
        _each(lambda _, line: ops.Seen(*line)),
    ),
}


class _Kind:
    """How the operations or replies of one class are sent."""

    def __init__(self, made: type[Any], **forms: _Form) -> None:
        hints = get_type_hints(made)
        names = [each.name for each in fields(made)]
        used = [forms.get(name) or _FORMS.get(hints[name], _Form(hints[name])) for name in names]
        sent = [(name, form.type) for name, form in zip(names, used, strict=True)]
        self._made, self._tag = made, made.__name__
        # Of one name, it would not return a tuple.
        self._values = attrgetter("__class__", *names)
        self._to = [(index, form.to_wire) for index, form in enumerate(used) if form.to_wire]
        self._back = [(index, form.from_wire) for index, form in enumerate(used) if form.from_wire]
        self.struct = msgspec.defstruct(self._tag, sent, tag=True, array_like=True, frozen=True)

    def plain(self, value: object, beside: Asked | Answered) -> list[Any]:
        """Return the value as plain data."""
        items = list(self._values(value))
        items[0] = self._tag
        for index, convert in self._to:
            items[index + 1] = convert(beside, items[index + 1])
        return items

    def decoded(self, sent: msgspec.Struct, unpacking: Unpacking) -> Any:
        """Return the value of what was sent. Raise ProtocolError for a missing tensor in it."""
        items = list(astuple(sent))
        for index, convert in self._back:
            items[index] = convert(unpacking, items[index])
        return self._made(*items)


_KINDS = {made: _Kind(made) for made in (*get_args(ops.Operation), *_REPLIES)}
_KINDS[ops.Observed] = _Kind(
    ops.Observed, built_in=_Form(Word, lambda _, name: name[:MOST_LETTERS])
)
_KINDS[ops.Raised] = _Kind(
    ops.Raised,
    names=_Form(
        _Lines, lambda _, names: names[:MOST_SEEN], lambda _, lines: tuple(map(tuple, lines))
    ),
)
_KINDS[ops.Descend] = _Kind(
    ops.Descend, tensors=_Form(_Named, _named(Asked.step), _named(Unpacking.at))
)
_kinds_sent = {kind.struct: kind for kind in _KINDS.values()}


def _decoder(*kinds: type[Any]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(Union[tuple(_KINDS[made].struct for made in kinds)])  # noqa: UP007


_operations = _decoder(*get_args(ops.Operation))
_replies = _decoder(*_REPLIES)


def performing(call: int, operations: Sequence[ops.Operation], *, at_once: bool) -> Perform:
    """Return the request for the operations."""
    beside = Asked()
    asked: list[Any] = [_KINDS[type(each)].plain(each, beside) for each in operations]
    return Perform(call, asked, at_once, beside.stacks())


def operations_of(request: Perform) -> Iterator[ops.Operation]:
    """Yield what is asked for. Raise ProtocolError for an operation that is malformed."""
    unpacking = Unpacking(request.stacks, answered=False)
    for data in request.operations:
        yield _decoded(_operations, data, unpacking)


class Replies:
    """Replies that wait for each other to be sent; ``size`` is that of all of them in bytes."""

    def __init__(self) -> None:
        self._beside = Answered()
        self._encoded: list[msgspec.Raw] = []
        self._letters = 0

    @property
    def size(self) -> int:
        """How many bytes they take up, more or less."""
        return self._beside.size + self._letters

    def __len__(self) -> int:
        return len(self._encoded)

    def add(self, reply: ops.Reply) -> None:
        """Add a reply, whose tensors nobody alters from now on."""
        data = encode(_KINDS[type(reply)].plain(reply, self._beside))
        self._encoded.append(msgspec.Raw(data))
        self._letters += len(data)

    def answers(self, call: int, first: int) -> bytes:
        """Return `Answers` as bytes."""
        return encode(Answers(call, first, self._encoded, self._beside.stacks()))


def replies_of(message: Answers) -> Iterator[ops.Reply]:
    """Yield the replies of a child. Raise ProtocolError for anything but a well-formed one."""
    encoded = tuple(map(bytes, message.replies))
    size = sum(map(len, encoded)) + sum(len(stack.data) for stack in message.stacks)
    if size > SMALL_ANSWERS:
        yield from _unpacked(encoded, message.stacks)
        return
    stacks = tuple([replace(stack, data=bytes(stack.data)) for stack in message.stacks])
    replies, wrong = _same_replies(encoded, stacks)
    yield from replies
    if wrong:
        raise ProtocolError(wrong)


# Right answers are the same to the last bit in submission after submission, and many wrong ones
# too. Replies are never altered, so they can be shared.
@lru_cache(maxsize=256)
def _same_replies(
    encoded: tuple[bytes, ...], stacks: tuple[Stack, ...]
) -> tuple[list[ops.Reply], str]:
    """Return the replies up to a malformed one, and what is wrong with that."""
    replies: list[ops.Reply] = []
    try:
        for reply in _unpacked(encoded, stacks):
            replies.append(reply)  # noqa: PERF402 - those before a malformed one count
    except ProtocolError as error:
        return replies, str(error) or "malformed"
    return replies, ""


def _unpacked(encoded: Sequence[bytes], stacks: Sequence[Stack]) -> Iterator[ops.Reply]:
    unpacking = Unpacking(stacks, answered=True)
    for data in encoded:
        yield _decoded(_replies, data, unpacking)


def _decoded(
    decoder: msgspec.msgpack.Decoder[Any], data: bytes | msgspec.Raw, unpacking: Unpacking
) -> Any:
    try:
        sent = decoder.decode(data)
        return _kinds_sent[type(sent)].decoded(sent, unpacking)
    except _MALFORMED as error:
        raise ProtocolError(str(error)) from None
