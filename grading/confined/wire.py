"""What goes over the wire: typed messages of plain data. Nothing that arrives is executed.

Operations and replies are the dataclasses of `harness.candidate.operations`. On the wire each is an
array of its class's name and its fields, which `_FORMS` bounds by their types.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, Union, get_args, get_type_hints
from weakref import WeakKeyDictionary

import msgspec
from msgspec.structs import astuple
from torch import Tensor

from grading.confined import tensors
from grading.confined.channel import ProtocolError
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
# Replies of so many bytes are kept for when the same ones come again.
SMALL_REPLY = 2048

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
    """Do the operations in order, each of them for `decode_operation`.

    Replies to quick ones can wait for each other, unless each is wanted ``at_once``.
    """

    call: int
    operations: list[msgspec.Raw]
    at_once: bool


Request = Parse | Define | Perform


class Parsed(msgspec.Struct, frozen=True, tag="parsed"):
    """The code of a submission, or what is compared of it; without any, ``reason`` says why.

    ``undecided``: a person has to decide, for that reason.
    """

    call: int
    source: Source | None = None
    details: Details | None = None
    reason: str = ""
    undecided: bool = False


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

    Each is for `decode_reply`.
    """

    call: int
    first: int
    replies: Annotated[list[msgspec.Raw], msgspec.Meta(min_length=1, max_length=MOST_REPLIES)]


FromChild = Parsed | Started | Defined | Answers

# A message as bytes; and back, one to a child.
encode = msgspec.msgpack.Encoder().encode
decode_request: Callable[[Frame], Request] = msgspec.msgpack.Decoder(Request).decode
_from_child: msgspec.msgpack.Decoder[FromChild] = msgspec.msgpack.Decoder(FromChild)
# A child cannot report its own death.
_REPLIES = tuple(each for each in get_args(ops.Reply) if each is not ops.Lost)
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def answers(call: int, first: int, replies: Sequence[bytes]) -> bytes:
    """Return `Answers` as bytes, of replies that have been encoded one by one."""
    return encode(Answers(call, first, list(map(msgspec.Raw, replies))))


def decode_from_child(frame: Frame) -> FromChild:
    """Return a message from a child. Raise ProtocolError for anything but a well-formed one."""
    try:
        return _from_child.decode(frame)
    except _MALFORMED as error:
        raise ProtocolError(str(error)) from None


class _Form(NamedTuple):
    """A field's type on the wire, and what turns its value into that and back."""

    type: Any
    to_wire: Callable[[Any], Any] | None = None
    from_wire: Callable[[Any], Any] | None = None


def _each(convert: Callable[[Any], Any], most: int | None = None) -> Callable[[Any], Any]:
    """Return what converts every value of the first ``most``, and leaves None alone."""
    return lambda values: None if values is None else tuple(map(convert, values[:most]))


Word = Annotated[str, msgspec.Meta(max_length=MOST_LETTERS)]
_Values = Annotated[list[tensors.ReturnedData], msgspec.Meta(max_length=MOST_VALUES)]
_Lines = Annotated[list[tuple[Word, Word]], msgspec.Meta(max_length=MOST_SEEN)]
_Settings = Annotated[dict[str, tensors.ValueData], msgspec.Meta(max_length=tensors.MOST_NAMES)]
_returned = _each(tensors.returned_data, MOST_VALUES), _each(tensors.returned_of)

_Case = Annotated[dict[Word, tensors.ReturnedData], msgspec.Meta(max_length=MOST_VALUES)]

# By the type of a field. Those of other types are sent as they are.
_FORMS: dict[Any, _Form] = {
    get_type_hints(ops.Forward)["inputs"]: _Form(
        Annotated[list[tensors.ValueData], msgspec.Meta(max_length=tensors.MOST_ITEMS)],
        _each(tensors.value_data),
        _each(tensors.value_of),
    ),
    get_type_hints(ops.Chain)["given"]: _Form(
        _Settings,
        lambda given: {name: tensors.value_data(value) for name, value in given.items()},
        lambda given: {name: tensors.value_of(data) for name, data in given.items()},
    ),
    get_type_hints(ops.Build)["settings"]: _Form(
        Annotated[list[_Settings], msgspec.Meta(max_length=tensors.MOST_ITEMS)],
        _each(lambda given: {name: tensors.value_data(each) for name, each in given.items()}),
        _each(lambda given: {name: tensors.value_of(data) for name, data in given.items()}),
    ),
    tuple[Tensor | None, ...]: _Form(
        Annotated[list[tensors.TensorData | None], msgspec.Meta(max_length=tensors.MOST_ITEMS)],
        _each(lambda value: None if value is None else tensors.asked_data(value)),
        _each(lambda data: None if data is None else tensors.tensor_of(data)),
    ),
    Mapping[str, Tensor]: _Form(tensors.Bundles, tensors.bundles, tensors.unbundled),
    Tensor | None: _Form(
        tensors.TensorData | None,
        lambda value: None if value is None else tensors.tensor_data(value),
        tensors.returned_of,
    ),
    ops.Returned: _Form(tensors.ReturnedData, tensors.returned_data, tensors.returned_of),
    tuple[ops.Returned, ...]: _Form(_Values, *_returned),
    tuple[ops.Returned, ...] | None: _Form(_Values | None, *_returned),
    get_type_hints(ops.Collected)["cases"]: _Form(
        Annotated[list[_Case], msgspec.Meta(max_length=MOST_VALUES)],
        _each(lambda case: {name: tensors.returned_data(each) for name, each in case.items()}),
        _each(lambda case: {name: tensors.returned_of(data) for name, data in case.items()}),
    ),
    # Without the code, which is in the source.
    tuple[ops.Seen, ...]: _Form(
        _Lines,
        _each(lambda seen: (seen.what[:MOST_LETTERS], seen.place), MOST_SEEN),
        _each(lambda line: ops.Seen(*line)),
    ),
}


class _Kind:
    """How the operations or replies of one class are sent."""

    def __init__(self, made: type[Any], **forms: _Form) -> None:
        hints = get_type_hints(made)
        names = [each.name for each in fields(made)]
        used = [forms.get(name) or _FORMS.get(hints[name], _Form(hints[name])) for name in names]
        sent = [(name, form.type) for name, form in zip(names, used, strict=True)]
        self._made, self._tag, self._names = made, made.__name__, names
        self._to = [(index, form.to_wire) for index, form in enumerate(used) if form.to_wire]
        self._back = [(index, form.from_wire) for index, form in enumerate(used) if form.from_wire]
        self.struct = msgspec.defstruct(self._tag, sent, tag=True, array_like=True, frozen=True)

    def encoded(self, value: object) -> bytes:
        """Return the value as bytes."""
        items = [self._tag, *(getattr(value, name) for name in self._names)]
        for index, convert in self._to:
            items[index + 1] = convert(items[index + 1])
        return encode(items)

    def decoded(self, sent: msgspec.Struct) -> Any:
        """Return the value of what was sent. Raise ProtocolError for a malformed tensor in it."""
        items = list(astuple(sent))
        for index, convert in self._back:
            items[index] = convert(items[index])
        return self._made(*items)


_KINDS = {made: _Kind(made) for made in (*get_args(ops.Operation), *_REPLIES)}
_KINDS[ops.Observed] = _Kind(ops.Observed, built_in=_Form(Word, lambda name: name[:MOST_LETTERS]))
_KINDS[ops.Raised] = _Kind(
    ops.Raised,
    names=_Form(_Lines, lambda names: names[:MOST_SEEN], lambda lines: tuple(map(tuple, lines))),
)
_kinds_sent = {kind.struct: kind for kind in _KINDS.values()}


def _decoder(*kinds: type[Any]) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(Union[tuple(_KINDS[made].struct for made in kinds)])  # noqa: UP007


_operations = _decoder(*get_args(ops.Operation))
_replies = _decoder(*_REPLIES)
_descents: WeakKeyDictionary[ops.Descend, msgspec.Raw] = WeakKeyDictionary()


def encode_operation(operation: ops.Operation) -> msgspec.Raw:
    """Return an operation as bytes for `Perform`."""
    if not isinstance(operation, ops.Descend):
        return msgspec.Raw(_KINDS[type(operation)].encoded(operation))
    # Made once: the steps of a training are the same for every candidate.
    if operation not in _descents:
        _descents[operation] = msgspec.Raw(_KINDS[ops.Descend].encoded(operation))
    return _descents[operation]


def decode_operation(data: msgspec.Raw) -> ops.Operation:
    """Return an operation that `Perform` asks for. Raise ProtocolError for a malformed one."""
    operation: ops.Operation = _decoded(_operations, data)
    return operation


def encode_reply(reply: ops.Reply) -> bytes:
    """Return a reply as bytes for `answers`."""
    return _KINDS[type(reply)].encoded(reply)


def decode_reply(data: msgspec.Raw) -> ops.Reply:
    """Return a reply from a child. Raise ProtocolError for anything but a well-formed one."""
    small = len(memoryview(data)) <= SMALL_REPLY
    reply: ops.Reply = _same_reply(bytes(data)) if small else _decoded(_replies, data)
    return reply


# Right answers are the same to the last bit in submission after submission, and many wrong ones
# too. Replies are never altered, so they can be shared.
@lru_cache(maxsize=4096)
def _same_reply(data: bytes) -> Any:
    return _decoded(_replies, data)


def _decoded(decoder: msgspec.msgpack.Decoder[Any], data: bytes | msgspec.Raw) -> Any:
    try:
        sent = decoder.decode(data)
        return _kinds_sent[type(sent)].decoded(sent)
    except _MALFORMED as error:
        raise ProtocolError(str(error)) from None
