"""Files parsed behind the wall: whatever they hold costs their own submission only."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.meter import descendants
from grading.confined import wire
from grading.confined.channel import LENGTH, Channel, ChannelClosed
from grading.confined.orders import Ended
from grading.confined.wire import Parse
from grading.parsing.features import Details, details_of
from grading.parsing.source import CELLS_LIMIT, CODE_LIMIT, File, Source, Unreadable, read_source
from grading.sandbox import Spawner, SpawnerError, reader
from grading.sandbox.reader import Reader
from grading.sandbox.remote import RemoteCandidate
from grading.submissions.reading import Entry, read_submission
from grading.workers.grader import grade_submission
from harness.candidate.operations import Forward, Output
from harness.course.assignments import load_assignment
from harness.course.settings import Limits, Settings
from tests.test_remote import RIGHT
from tests.test_source import code, notebook

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="children are forked on Linux only")

CODE = File("work.py", b"import torch\n\n\nclass Sigmoid:\n    pass  # my own\n")


class Counting(Spawner):
    """A spawner that counts the children it makes, and has ``each`` done to every one."""

    def __init__(self, spawner, each=lambda: None):
        self._spawner, self._each = spawner, each
        self.made = 0

    def child(self, memory_mib, cpu_seconds, modules=()):
        made = self._spawner.child(memory_mib, cpu_seconds, modules)
        self.made += 1
        self._each()
        return made

    def lasting_child(self, memory_mib, cpu_seconds):
        made = self._spawner.lasting_child(memory_mib, cpu_seconds)
        self.made += 1
        self._each()
        return made

    def close(self):
        pass


def killing(times, before):
    """Kills what a spawner has just made, as the kernel does for lack of memory."""
    left = [times]

    def kill():
        if left[0]:
            left[0] -= 1
            while not (new := set(descendants(os.getpid())) - before):
                time.sleep(0.01)
            os.kill(new.pop(), signal.SIGKILL)

    return kill


def pictures(size):
    """A notebook of right code in one cell, among pictures of so many bytes."""
    data = base64.b64encode(random.Random(0).randbytes(size)).decode()
    output = {"output_type": "display_data", "metadata": {}, "data": {"image/png": data}}
    cells = [code("draw()") | {"outputs": [output]}, code("".join(RIGHT))]
    return notebook(*cells).encode()


def test_code_read_behind_the_wall_is_the_same_and_one_child_reads_all(zygote):
    files = [CODE, File("n.ipynb", notebook(code("a = 1"), code("b = 2")).encode())]
    spawner = Counting(zygote)
    with Reader(spawner) as one:
        for file in files:
            assert one.source([file]) == read_source(file.name, file.data)
            assert one.details([file]) == details_of([file])
        with pytest.raises(Unreadable, match="The file is empty"):
            one.source([File("a.py", b"")])
        assert one.source([CODE]).cells
    assert spawner.made == 1


def test_the_child_that_reads_stays_while_others_run_what_it_has_read(zygote):
    spawner = Counting(zygote)
    with Reader(spawner) as one:
        for _ in range(3):
            with RemoteCandidate(zygote, one.source([CODE]), Limits()) as remote:
                assert not remote.definition.unusable
    assert spawner.made == 1


KEEPS_A_FILE = """
import tempfile
import torch

with tempfile.NamedTemporaryFile("w", delete=False) as kept:
    kept.write("seven")

class Sigmoid(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        return z + len(open(kept.name).read())
"""


def test_temporary_files_stay_where_the_child_that_reads_comes_and_goes(zygote):
    z = torch.zeros(2, dtype=torch.float64)
    source = read_source("a.py", KEEPS_A_FILE.encode())
    with RemoteCandidate(zygote, source, Limits()) as remote:
        assert not remote.definition.unusable
        with Reader(zygote) as one:
            assert one.source([CODE]).cells
        (reply,) = remote.perform([Forward(1, "Sigmoid", (z,), (False,))])
    assert isinstance(reply, Output) and isinstance(reply.values[0], torch.Tensor)
    assert reply.values[0].tolist() == [5.0, 5.0]


def test_a_file_name_that_is_no_text_is_escaped(zygote):
    with Reader(zygote) as one:
        (cell,) = one.source([File(os.fsdecode(b"zo\xeb.py"), b"x = 1")]).cells
    assert cell.name == "zo\\udceb.py"


@pytest.mark.slow
def test_large_pictures_around_right_code_cost_nothing(zygote, tmp_path):
    path = tmp_path / "ann.ipynb"
    path.write_bytes(pictures(18 * 10**6))
    spawner = Counting(zygote)
    with Reader(spawner, memory_mib=256) as one:
        submission = read_submission(Entry("ann", (str(path),)), "many-neurons", one.source)
        # What it took is not kept for the next submission.
        assert one.source([CODE]).cells
    assert spawner.made == 2
    done = grade_submission(
        submission, load_assignment("many-neurons"), Settings(), 0, zygote
    ).result
    assert (done.status, done.score) == ("graded", 10.0), done.reason


MEASURED = """
import resource, sys
from grading.sandbox.reader import Reader
from grading.sandbox.zygote import Zygote
from grading.submissions.reading import Entry, read_submission

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

with Zygote() as zygote, Reader(zygote) as reader:
    def read(path):
        return read_submission(Entry("ann", (path,)), "many-neurons", reader.source)
    assert read(sys.argv[1]).source
    before = peak()
    for path in sys.argv[2:]:
        print(read(path).reason)
    assert read(sys.argv[1]).source
    print(peak() - before)
"""


@pytest.mark.slow
def test_what_exhausts_a_parser_takes_no_memory_of_the_side_that_asks(tmp_path):
    (tmp_path / "right.ipynb").write_bytes(notebook(code("x = 1")).encode())
    bombs = {
        "objects": b"[" + b"{}," * (16 * 2**20 // 3) + b"{}]",
        "values": b'{"nbformat": 4, "x": NaN, "cells": [' + b"{}," * (16 * 2**20 // 3) + b"{}]}",
        "keys": b"{" + b'"cells": [], ' * 10**6 + b'"nbformat": 4}',
        "tags": notebook(code("") | {"metadata": {"tags": [[]] * 2**22}}).encode(),
    }
    for name, data in bombs.items():
        (tmp_path / f"{name}.ipynb").write_bytes(data)
    paths = [str(tmp_path / f"{name}.ipynb") for name in ("right", *bombs)]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *paths],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    *reasons, taken = done.stdout.splitlines()
    assert len(reasons) == len(bombs) and all(reasons)
    # The file itself is held here, once.
    assert int(taken) < 40


def test_memory_and_time_that_run_out_are_the_files_own_reason(zygote, monkeypatch):
    deep = notebook(code("") | {"metadata": {"tags": [[]] * 2**20}}).encode()
    with Reader(zygote, memory_mib=32) as small, pytest.raises(Unreadable, match="too large or"):
        small.source([File("a.ipynb", deep)])
    monkeypatch.setattr(reader, "SECONDS", 0.3)
    long = File("a.py", b"x = [1, 2, (3, 4), {5: 6}]\n" * 100_000)
    with Reader(zygote) as one:
        with pytest.raises(Unreadable, match=r"takes more than 0\.3 seconds"):
            one.details([long])
        assert one.source([CODE]).cells


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (File("a.py", b"x = 1\n" * (CODE_LIMIT // 6 + 1)), "more than 4 MiB of code"),
        (File("a.ipynb", notebook(*[code("1")] * (CELLS_LIMIT + 1)).encode()), "than 10000 cells"),
    ],
)
def test_more_code_than_anybody_writes_is_refused(zygote, file, reason):
    with Reader(zygote) as one, pytest.raises(Unreadable, match=reason):
        one.source([file])


def test_a_notebook_of_many_empty_cells_is_its_code(zygote):
    cells = [*[code("")] * CELLS_LIMIT, code("x = 1")]
    with Reader(zygote) as one:
        (cell,) = one.source([File("a.ipynb", notebook(*cells).encode())]).cells
    assert (cell.name, cell.text) == ("<cell 1>", "x = 1")


def test_a_kill_from_outside_is_made_up_for_once_and_is_nobodys_mark(zygote):
    zygote.child(64, 5.0).end()  # from now on a new process is a child
    spawner = Counting(zygote, killing(1, set(descendants(os.getpid()))))
    with Reader(spawner) as one:
        assert one.source([CODE]) == read_source(CODE.name, CODE.data)
    assert spawner.made == 2
    again = Counting(zygote, killing(2, set(descendants(os.getpid()))))
    with Reader(again) as one, pytest.raises(SpawnerError, match="ended from outside"):
        one.source([CODE])


class ScriptedChild:
    """A child that answers so many requests as it is told to, and ends."""

    def __init__(self, answer, requests=1):
        mine, theirs = socket.socketpair()
        self.channel = Channel(mine)
        self._requests = requests
        self._thread = threading.Thread(target=self._serve, args=(theirs, answer))
        self._thread.start()

    def cpu_seconds(self):
        return 0.0

    def end(self, grace=0.0):
        self.channel.close()
        self._thread.join()
        return Ended(killed=False, exit_code=0, signal=None, cpu_seconds=0.0)

    def _serve(self, sock, answer):
        channel = Channel(sock)
        with sock, contextlib.suppress(ChannelClosed, OSError):
            for _ in range(self._requests):
                request = wire.decode_request(channel.receive(wire.REQUEST_LIMIT))
                assert isinstance(request, Parse)
                for _ in request.names:
                    channel.receive(wire.REQUEST_LIMIT)
                sock.sendall(answer(request.call))


class Scripted(Counting):
    def __init__(self, answer):
        super().__init__(None)
        self._answer = answer

    def lasting_child(self, memory_mib, cpu_seconds):
        self.made += 1
        return ScriptedChild(self._answer)


def framed(payload):
    return LENGTH.pack(len(payload)) + payload


def parsed(**keys):
    return lambda call: framed(msgspec.msgpack.encode({"type": "parsed", "call": call} | keys))


CELL = {"name": "a.py", "text": "x"}


class Filling(Counting):
    """A spawner of children that say that the second file, or every one, is too large."""

    def __init__(self, every=False):
        super().__init__(None)
        self._every = every

    def lasting_child(self, memory_mib, cpu_seconds):
        self.made += 1
        read = []

        def answer(call):
            read.append(call)
            if self._every or len(read) > 1:
                return parsed(reason="too large", exhausted=True)(call)
            return parsed(source={"cells": [CELL], "notebook": False})(call)

        return ScriptedChild(answer, requests=3)


def test_a_file_is_too_large_only_if_it_is_for_a_child_that_has_read_no_other():
    spawner = Filling()
    with Reader(spawner) as one:
        assert one.source([CODE]).cells
        assert one.source([CODE]).cells
    assert spawner.made == 2
    spawner = Filling(every=True)
    with Reader(spawner) as one, pytest.raises(Unreadable, match="too large"):
        one.source([CODE])
    assert spawner.made == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda _: LENGTH.pack(2**32 - 1) + b"x" * 99, id="a length of 4 GiB"),
        pytest.param(lambda _: framed(b"\x91" * 100_000 + b"\xc0"), id="nested without end"),
        pytest.param(lambda _: b"", id="nothing"),
        pytest.param(lambda call: parsed(reason="x")(call + 1), id="another call"),
        pytest.param(parsed(), id="neither code nor a reason"),
        pytest.param(parsed(details={}), id="what nobody asked for"),
        pytest.param(
            parsed(source={"cells": [CELL] * (CELLS_LIMIT + 1), "notebook": True}), id="many cells"
        ),
        pytest.param(
            parsed(source={"cells": [CELL | {"text": "x" * 2**24}], "notebook": True}), id="long"
        ),
    ],
)
def test_an_answer_made_to_harm_is_a_file_that_cannot_be_read(answer):
    spawner = Scripted(answer)
    with Reader(spawner) as one, pytest.raises(Unreadable, match="could not be read"):
        one.source([CODE])
    assert spawner.made == 2


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(
        st.binary(max_size=60).map(lambda data: lambda _: framed(data)),
        st.dictionaries(
            st.sampled_from(["source", "details", "reason", "call", "type"]),
            st.none() | st.text(max_size=3) | st.just({"cells": [CELL], "notebook": False}),
        ).map(lambda keys: parsed(**keys)),
    )
)
def test_whatever_is_answered_is_code_or_a_reason(answer):
    with Reader(Scripted(answer)) as one, contextlib.suppress(Unreadable):
        assert isinstance(one.source([CODE]), Source)


def test_details_without_end_are_refused():
    many = {"comments": ["x"] * 10_000}
    with Reader(Scripted(parsed(details=many))) as one, pytest.raises(Unreadable):
        one.details([CODE])
    with Reader(Scripted(parsed(details={"names": ["x"]}))) as one:
        assert one.details([CODE]) == Details(names=["x"])


def zipped(*members, compression=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return bytearray(buffer.getvalue())


def many(count):
    return ((f"{number}.txt", b"") for number in range(count))


def overlapping():
    """Every member is described as lying where the first one does."""
    data = zipped(*((f"{number}.txt", b"x" * 10**6) for number in range(100)), ("a.py", b"x = 1"))
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 42 : at + 46] = b"\0\0\0\0"
        at = data.find(b"PK\x01\x02", at + 1)
    return data


def lying(offset, value):
    """The description of the one member says another number at ``offset``."""
    data = zipped(("a.py", b"x = 1\n" * 100))
    at = data.find(b"PK\x01\x02") + offset
    data[at : at + len(value)] = value
    return data


def commented():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(300):
            info = zipfile.ZipInfo(f"{'d/' * 30_000}{number}.txt")
            info.comment = b"c" * 65_000
            archive.writestr(info, b"")
        archive.writestr("a.py", b"x = 1")
        archive.comment = b"PK\x05\x06" * 16_000
    return buffer.getvalue()


ZIPS = {
    "10,000 members": lambda: zipped(*many(9_999), ("a.py", b"x = 1")),
    "10,001 members": lambda: zipped(*many(10_001)),
    "members in one place": overlapping,
    "a size of 4 GiB": lambda: lying(24, b"\xfe\xff\xff\xff"),
    "a packed size of 4 GiB": lambda: lying(20, b"\xfe\xff\xff\xff"),
    "zip64 without its fields": lambda: lying(24, b"\xff\xff\xff\xff"),
    "a place beyond the end": lambda: lying(42, b"\xfe\xff\xff\xff"),
    "a disk that is not there": lambda: lying(34, b"\xfe\xff"),
    "comments and names without end": commented,
    "a bomb": lambda: zipped(("a.py", b"#" * (200 * 2**20))),
    "code of the most that is unpacked": lambda: zipped(("a.py", b"#" * (48 * 2**20))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ZIPS)
def test_a_zip_made_to_harm_is_code_or_a_reason_within_the_childs_memory(zygote, name):
    file = File("a.zip", bytes(ZIPS[name]()))
    spawner = Counting(zygote)
    with Reader(spawner, memory_mib=256) as one:
        try:
            said = one.source([file]).cells[0].text
        except Unreadable as why:
            said = str(why)
        assert said.startswith("x = 1") or "a.zip" in said or "larger" in said or "code" in said
        assert one.source([CODE]).cells


ALL_THAT_READS = """
import contextlib, sys
from pathlib import Path
from grading.parsing.features import details_of
from grading.confined.definitions import NothingParses, run_definitions
from grading.confined.wire import Statement
from grading.sandbox.redaction import Redactor
from grading.parsing.source import Cell, File, Source
from grading.selfcheck.work import assignment_of
from harness.course.assignments import SHIPPED
from harness.errors import UserError

for unit in sys.argv[1:]:
    text = unit * (2**18 // len(unit))
    for name, end in ((name, end) for name in ("a.py", "<cell 1>") for end in ("", "(")):
        source = Source((Cell(name, text + end),), notebook=name != "a.py")
        with contextlib.suppress(UserError):
            assignment_of(Path("a.py"), source, SHIPPED)
        with contextlib.suppress(NothingParses):
            run_definitions(source, [], 0, lambda *_: None, ignored=ZeroDivisionError)
        Redactor(source).statement(Statement(text, text, text, [text]))
    with contextlib.suppress(MemoryError, RecursionError):
        details_of([File("a.py", text.encode() + b"(")])
print("read")
"""


UNITS = ["\n", " ", "\t\n", "import ", "class ", "%", "! ", "a ", "a=", "/a", "x?", "\f", "\r"]
UNITS += [
    "from harness.",
    " \n\t",
    "class\n",
    "%%time\n",
    "%run a\n",
    "?\n",
    "f'{",
    "import harness.x\n",
]


@pytest.mark.proof
def test_reading_takes_time_in_proportion_to_the_text():
    """Where it took time in proportion to the square, this would take hours."""
    done = subprocess.run(
        [sys.executable, "-c", ALL_THAT_READS, *UNITS],
        stdout=subprocess.PIPE,
        timeout=300,
        check=True,
    )
    assert done.stdout == b"read\n"
