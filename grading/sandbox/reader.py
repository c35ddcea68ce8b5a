"""Files that cannot be trusted, parsed behind the wall in a child that never runs their code."""

import contextlib
import signal
import time
from collections.abc import Sequence

from grading.confined import wire
from grading.confined.channel import ChannelClosed, ChannelTimeout, ProtocolError
from grading.confined.spawner import Child, Closing, Spawner, SpawnerError
from grading.confined.wire import Parse, Parsed
from grading.parsing.choosing import ANYTHING, Ambiguous, Sought
from grading.parsing.features import Details
from grading.parsing.source import File, Source, Unreadable
from grading.parsing.zips import shown_name
from grading.sandbox.remote import OUTSIDE

MEMORY_MIB = 1024
# Of processor time for the files of one submission; and of wall-clock time, where the machine does
# not give it that.
SECONDS = 10.0
PATIENCE = 300.0
GLANCE_SECONDS = 0.5
# The kernel's own limit for a child, which serves many submissions; and the size from which on it
# is replaced, to give back the memory.
MOST_SECONDS = 600.0
LARGE = 1024 * 1024
_FROM_OUTSIDE = {getattr(signal, name) for name in OUTSIDE if hasattr(signal, name)}


class Reader(Closing):
    """Reads submissions in a child process that stays while others run code."""

    def __init__(self, spawner: Spawner, memory_mib: int = MEMORY_MIB) -> None:
        self._spawner = spawner
        self._memory_mib = memory_mib
        self._child: Child | None = None
        self._number = 0

    def source(self, files: Sequence[File], sought: Sought = ANYTHING) -> Source:
        """Return the code of a submission. Raise Unreadable if there is none to use.

        That is Ambiguous if a person has to decide. Raise SpawnerError if the grader itself failed.
        """
        source = self._parsed(files, sought, compared=False).source
        assert source is not None
        return source

    def details(self, files: Sequence[File], sought: Sought = ANYTHING) -> Details:
        """Return what can be compared of a submission. Raise as `source` does."""
        details = self._parsed(files, sought, compared=True).details
        assert details is not None
        return details

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            child, self._child = self._child, None
            with contextlib.suppress(SpawnerError):
                child.end()

    def _parsed(self, files: Sequence[File], sought: Sought, *, compared: bool) -> Parsed:
        for last in (False, True):
            is_new = self._child is None
            try:
                answer = self._asked(files, sought, compared)
            except _Lost as lost:
                self.close()
                # Something outside can end a child once; a file that ends it does so again.
                if lost.outside and last:
                    raise SpawnerError(f"the process that reads files {lost}") from None
                if last:
                    raise Unreadable(
                        f"The file could not be read: the process that reads it {lost}."
                    ) from None
                continue
            if answer.exhausted and not is_new:
                # Files that it read before may have left it too little memory.
                self.close()
                continue
            if sum(len(file.data) for file in files) > LARGE:
                self.close()
            if answer.reason:
                raise (Ambiguous if answer.undecided else Unreadable)(answer.reason)
            return answer
        raise AssertionError("the last try returns or raises")

    def _asked(self, files: Sequence[File], sought: Sought, compared: bool) -> Parsed:
        """Return what a child answers. Raise _Lost if it does not."""
        if self._child is None:
            self._child = self._spawner.lasting_child(self._memory_mib, MOST_SECONDS)
        child = self._child
        self._number += 1
        names = [shown_name(file.name) for file in files]
        try:
            request = Parse(self._number, names, sought, compared)
            child.channel.send(wire.encode(request), PATIENCE)
            for file in files:
                child.channel.send(file.data, PATIENCE)
            answer = wire.decode_from_child(self._await(child))
        except ProtocolError:
            raise _Lost("sent an answer that cannot be read") from None
        except ChannelTimeout:
            raise _Lost("stopped reading", outside=True) from None
        except ChannelClosed:
            self._child = None
            ended = child.end(grace=1.0)
            outside = not ended.killed and ended.signal in _FROM_OUTSIDE
            raise _Lost("was ended from outside" if outside else "died", outside=outside) from None
        if not isinstance(answer, Parsed) or answer.call != self._number:
            raise _Lost("sent an answer that nobody asked for")
        if not (answer.reason or (answer.details if compared else answer.source)):
            raise _Lost("sent an answer without what was asked for")
        return answer

    def _await(self, child: Child) -> memoryview:
        """Return the next frame. Raise Unreadable if the files take too long."""
        began = time.monotonic()
        before: float | None = None
        while True:
            try:
                return child.channel.receive(wire.PARSED_LIMIT, GLANCE_SECONDS)
            except ChannelTimeout:
                waited, used = time.monotonic() - began, child.cpu_seconds()
            # What it had used before is not known: no less than this.
            before = max(used - waited, 0.0) if before is None else before
            if used - before > SECONDS:
                self.close()
                raise Unreadable(f"Reading the file takes more than {SECONDS:g} seconds.")
            if waited > PATIENCE:
                raise _Lost(f"did not answer within {waited:.0f} seconds", outside=True)


class _Lost(Exception):
    """A child died over the files of a submission, or broke the rules of the wire.

    ``outside`` tells that something other than those files may be the cause.
    """

    def __init__(self, text: str, *, outside: bool = False) -> None:
        super().__init__(text)
        self.outside = outside
