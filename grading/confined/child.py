"""The student's process: runs their statements, then answers operations."""

from __future__ import annotations

import bdb
import itertools
import os
import pdb
import random
import site
import socket
import sys
import tempfile
import time
import warnings
from collections import ChainMap
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy
import torch

from grading.confined import wire
from grading.confined.beside import Beside
from grading.confined.channel import Channel, ChannelClosed
from grading.confined.definitions import NothingParses, run_definitions
from grading.confined.finder import Finder
from grading.confined.stand_ins import Handouts, NotGraded
from grading.confined.wire import Define, Defined, Parse, Parsed, Perform, Started
from grading.parsing.choosing import Ambiguous, source_of
from grading.parsing.features import details_of
from grading.parsing.source import File, Unreadable
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
                    workbench = Workbench(_define(channel, request), request.source.pairs)
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
    sys.breakpointhook = pdb.set_trace = _no_debugger
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


def _no_debugger(*_: object, **_options: object) -> NoReturn:
    """Stand for the debugger, which nobody can use."""
    raise bdb.BdbQuit


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
        text = "The file is too large or too deeply nested to read."
        return Parsed(request.call, reason=text, exhausted=True)


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
    torch.set_default_device(None)  # inputs are on the CPU
    channel.send(wire.encode(Defined(request.call, done.failed, "")))
    # A class can be in a module that the code imports, whether it takes it from there or not.
    return ChainMap(done.module.__dict__, *_beside.namespaces)


def _perform(channel: Channel, request: Perform, workbench: Workbench) -> None:
    kept = wire.Replies()
    sent = time.monotonic()
    last = len(request.operations) - 1
    for index, operation in enumerate(wire.operations_of(request)):
        kept.add(workbench.perform_one(operation))
        late = time.monotonic() - sent > KEEP_SECONDS
        full = kept.size > KEEP_BYTES or len(kept) == wire.MOST_REPLIES
        if request.at_once or late or full or index == last:
            channel.send(kept.answers(request.call, index + 1 - len(kept)))
            kept = wire.Replies()
            sent = time.monotonic()


_handouts = Handouts()
_beside = Beside()
