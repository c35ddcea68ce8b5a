"""A grader that does not work, as another version of a package may make it."""

from __future__ import annotations

from pathlib import Path

# As msgspec 0.19 does: what it decodes to a memoryview is as long as the whole message.
BROKEN = """
import msgspec
from msgspec import msgpack

Whole = msgpack.Decoder


def lengthen(value, message):
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            field = getattr(value, name)
            if isinstance(field, memoryview):
                msgspec.structs.force_setattr(value, name, memoryview(bytes(field) + message))
            else:
                lengthen(field, message)
    elif isinstance(value, list | tuple):
        for each in value:
            lengthen(each, message)
    return value


class Decoder:
    def __init__(self, *args):
        self.decoder = Whole(*args)

    def __class_getitem__(cls, item):
        return cls

    def decode(self, message):
        return lengthen(self.decoder.decode(message), bytes(message))


msgpack.Decoder = Decoder
"""


def break_decoding(folder: Path) -> None:
    """Breaks every Python that has the folder in PYTHONPATH."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(BROKEN)
