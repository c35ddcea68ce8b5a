"""The student's process: runs their statements, then answers operations."""

from __future__ import annotations

import itertools
import os
import random
import site
import socket
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Mapping
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any, NoReturn

import numpy
import torch

from grading.confined import wire
from grading.confined.beside import Beside
from grading.confined.channel import Channel, ChannelClosed
from grading.confined.choosing import Ambiguous, source_of
from grading.confined.definitions import NothingParses, run_definitions
from grading.confined.features import details_of
from grading.confined.finder import Finder
from grading.confined.source import File, Unreadable
from grading.confined.wire import Define, Defined, Parse, Parsed, Perform, Started
from harness.candidate.workbench import Workbench

# Replies are sent together: after so many seconds, or when they have so many bytes.
KEEP_SECONDS = 0.05
KEEP_BYTES = 256 * 1024


def serve(sock: socket.socket) -> None:
    """Answer requests on ``sock`` until the other side closes it. Call `prepare` before."""
    channel = Channel(sock)
    workbench = Workbench({})
    while True:
        try:
            request = wire.decode_request(channel.receive(wire.REQUEST_LIMIT))
            match request:
                case Parse():
                    channel.send(wire.encode(_parsed(channel, request)))
                case Define():
                    workbench = Workbench(_define(channel, request))
                case Perform():
                    _perform(channel, request, workbench)
        except ChannelClosed:
            return


def silence() -> None:
    """Point standard input, output and error nowhere: what a student prints is not an answer."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    os.close(nowhere)


def prepare(finder: Finder | None = None) -> None:
    """Make this process a student's: seeded, without warnings, the judge's side out of reach.

    It can import what ``finder`` finds, or without one what any process can. A process that
    children are forked from does this once for all of them.
    """
    seed()
    torch.compile = _uncompiled
    # Names of temporary files, which messages can contain, are the same in every run.
    tempfile._name_sequence = map("{:08}".format, itertools.count())  # type: ignore[attr-defined]
    warnings.simplefilter("ignore")
    for name in [each for each in sys.modules if each.split(".")[0] in ("harness", "grading")]:
        del sys.modules[name]
    if finder is not None:
        finder.install()
    sys.meta_path.insert(0, _handouts)
    sys.meta_path.append(_beside)
    # What Python adds when it starts, which the warm process did without.
    site.setquit()
    site.sethelper()


def seed() -> None:
    """Seed all generators that a student may use without doing so."""
    random.seed(0)
    numpy.random.seed(0)  # noqa: NPY002 - students use the global generator
    torch.manual_seed(0)


def _uncompiled(model: Any = None, **_options: object) -> Any:
    """Stand for torch.compile, which would start a compiler: return the function as it is."""
    return _uncompiled if model is None else model


def _parsed(channel: Channel, request: Parse) -> Parsed:
    files = [File(name, bytes(channel.receive(wire.REQUEST_LIMIT))) for name in request.names]
    try:
        if request.compared:
            return Parsed(request.call, details=details_of(files, request.sought))
        return Parsed(request.call, source_of(files, request.sought))
    except Unreadable as reason:
        undecided = isinstance(reason, Ambiguous)
        return Parsed(request.call, reason=str(reason), undecided=undecided)
    except (MemoryError, RecursionError):
        return Parsed(request.call, reason="The file is too large or too deeply nested to read.")


def _define(channel: Channel, request: Define) -> Mapping[str, object]:
    def started(index: int, place: str) -> None:
        channel.send(wire.encode(Started(request.call, index, place)))

    _handouts.names.add(request.source.handout)
    _beside.take(request.source.modules)
    try:
        done = run_definitions(
            request.source, request.skip, request.until, started, ignored=NotGraded
        )
    except NothingParses as nothing:
        channel.send(wire.encode(Defined(request.call, [], str(nothing))))
        return {}
    channel.send(wire.encode(Defined(request.call, done.failed, "")))
    return done.module.__dict__


def _perform(channel: Channel, request: Perform, workbench: Workbench) -> None:
    kept: list[bytes] = []
    sent = time.monotonic()
    last = len(request.operations) - 1
    for index, data in enumerate(request.operations):
        reply = workbench.perform_one(wire.decode_operation(data))
        kept.append(wire.encode_reply(reply))
        late = time.monotonic() - sent > KEEP_SECONDS
        if request.at_once or late or index == last or sum(map(len, kept)) > KEEP_BYTES:
            channel.send(wire.answers(request.call, index + 1 - len(kept), kept))
            kept = []
            sent = time.monotonic()


class NotGraded(Exception):
    """The code needs what only a notebook has: pictures, data, a check's result."""


class _Inert:
    """Stands for what a handout imports, which grading ignores: using it does nothing or skips."""

    def __call__(self, *_args: object, **_options: object) -> _Inert:
        return self

    def __getattr__(self, name: str) -> _Inert:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def _skip(self, *_args: object) -> NoReturn:
        raise NotGraded

    __iter__ = __getitem__ = __len__ = __float__ = __int__ = __bool__ = _skip
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _skip
    __truediv__ = __rtruediv__ = __matmul__ = __rmatmul__ = __neg__ = __format__ = _skip


class _Handout(types.ModuleType):
    """Stands for a module of the harness, such as the one a handout imports ``check`` from."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Inert()


class _Handouts(MetaPathFinder, Loader):
    """Finds a stand-in for what handouts import: the judge's side is not the child's."""

    def __init__(self) -> None:
        self.names = {"harness"}

    def find_spec(
        self, fullname: str, _path: object = None, _target: object = None
    ) -> ModuleSpec | None:
        """Return the spec of a stand-in for a module that is handed out, None for others."""
        inside = fullname.split(".", maxsplit=1)[0] in self.names
        return ModuleSpec(fullname, self, is_package=True) if inside else None

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        """Return the stand-in."""
        return _Handout(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Run nothing."""


_handouts = _Handouts()
_beside = Beside()
