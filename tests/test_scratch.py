"""A student's process has temporary files, private and bounded, and all else that torch needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grading.attacks import RIGHT
from grading.confined import scratch
from grading.confined.wire import Define, encode
from grading.parsing.source import Cell, Source
from grading.sandbox.remote import RemoteCandidate
from grading.sandbox.slow import asked_for
from grading.sandbox.zygote import Connection, ForkedChild, Zygote
from harness.course.assignments import load_assignment
from harness.course.settings import Limits
from harness.judging.judge import judge
from tests.users import PROJECT, needs

LOCKED = pytest.mark.skipif(sys.platform != "linux", reason="only Linux locks processes down")
MANY_NEURONS = load_assignment("many-neurons")


@pytest.fixture(scope="module", params=["full", "partial"])
def locked(request) -> Iterator[Zygote]:
    if request.param == "full":
        needs("bwrap")
    with Zygote([request.param]) as zygote:
        zygote.wait()
        yield zygote


def source(text: str) -> Source:
    return Source((Cell("submission.py", text),), notebook=False)


def failures(spawner, *statements: str) -> list[str]:
    """What each statement raises, or is stopped for, in its words."""
    with RemoteCandidate(spawner, source("\n".join(statements)), Limits()) as remote:
        assert not remote.definition.unusable
        return [f"{each.kind}: {each.text}" for each in remote.definition.failed]


TREES = st.recursive(
    st.sampled_from([0o000, 0o644]), lambda inner: st.dictionaries(st.sampled_from("abcd"), inner)
)


@settings(max_examples=30)
@given(TREES, st.sampled_from([0o000, 0o300, 0o700]), st.integers(0, 9))
def test_a_folder_is_emptied_however_deep_it_is_and_whatever_its_modes(tree, mode, depth):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for _ in range(depth):
            tree = {"a": tree, "b": 0o644}
        planted(root / "x", tree, mode)
        scratch.empty(root)
        assert list(root.iterdir()) == []


def planted(path: Path, tree, mode: int) -> None:
    if isinstance(tree, int):
        path.touch(tree)
        return
    path.mkdir()
    for name, inner in tree.items():
        planted(path / name, inner, mode)
    path.chmod(mode)


@pytest.mark.slow
def test_a_folder_too_deep_for_any_path_is_emptied_too(tmp_path):
    dig(tmp_path, 3_000)
    scratch.empty(tmp_path)
    assert list(tmp_path.iterdir()) == []


def dig(folder: Path, depth: int) -> None:
    at = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("deep", dir_fd=at)
        below = os.open("deep", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)


def test_what_is_too_much_is_told(tmp_path):
    assert scratch.excess(tmp_path) == ""
    (tmp_path / "folder").mkdir(0o000)
    (tmp_path / "file").write_bytes(b"x" * 1_000_000)
    assert scratch.excess(tmp_path) == ""
    for number in range(8):
        (tmp_path / "folder" / str(number)).write_bytes(b"x" * scratch.FILE_MIB * scratch.MIB)
    assert scratch.excess(tmp_path) == "wrote more than 32 MiB of temporary files"
    scratch.empty(tmp_path)
    dig(tmp_path, 1_100)
    assert "temporary" in scratch.excess(tmp_path)
    # Folders so deep are more than pytest itself can remove.
    scratch.empty(tmp_path)


def test_what_is_slow_to_import_is_known_from_the_text_alone():
    compiler = ("torch._dynamo",)
    assert asked_for(source("from torch import optim")) == compiler
    assert asked_for(source("optimizer = functional = compile")) == ()
    assert asked_for(source(RIGHT)) == ()


@pytest.mark.slow
@LOCKED
class TestInAStudentsProcess:
    def test_files_can_be_used_as_anywhere(self, locked):
        text = """
        import os, pathlib, shutil, tempfile, torch
        assert os.listdir(".") == [] and os.getcwd() == tempfile.gettempdir() == os.environ["HOME"]
        torch.save(torch.ones(3), "w.pt")
        assert torch.load("w.pt").sum() == 3
        shutil.copyfile("w.pt", "v.pt"); os.rename("v.pt", "u.pt"); os.remove("u.pt")
        tempfile.TemporaryFile().write(b"x"); tempfile.NamedTemporaryFile().write(b"x")
        with tempfile.TemporaryDirectory() as name: pathlib.Path(name, "a").write_text("x")
        assert pathlib.Path.home().is_dir()
        """
        assert failures(locked, *textwrap.dedent(text).splitlines()) == []

    def test_nothing_but_plain_files_and_folders_can_be_made(self, locked):
        said = failures(
            locked,
            "import os, socket",
            "os.symlink('/etc/passwd', 'link')",
            "os.link('/etc/passwd', 'link')",
            "os.mkfifo('pipe')",
            "os.mknod('device')",
            "import ctypes; open('file', 'w').close(); libc = ctypes.CDLL(None, use_errno=True)",
            # RENAME_WHITEOUT leaves a device in the file's place.
            "if libc.renameat2(-100, b'file', -100, b'other', 4): raise OSError('not whited out')",
            "socket.socket(socket.AF_UNIX).bind('socket')",
            "open('../file', 'w')",
            "os.rename('../tmp', '../other')",
            "os.listdir('..')",
            "open('large', 'wb').write(b'x' * 5_000_000)",
        )
        assert len(said) == 10
        assert {each.partition(":")[0] for each in said} == {"PermissionError", "OSError"}

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("for n in range(10**6): open(str(n), 'w').close()", "1,000 temporary files"),
            ("for n in range(99): open(str(n), 'wb').write(b'x' * 2**22)", "32 MiB of temporary"),
            ("for n in range(10**6): os.makedirs('a/' * (n % 90 + 1) + str(n))", "temporary f"),
        ],
    )
    def test_too_much_costs_the_part_that_made_it(self, locked, code, said):
        flood = f"exec({code + chr(10) + 'import time; time.sleep(20)'!r})"
        text = RIGHT.replace("(a,) = ctx", f"import os; {flood}; (a,) = ctx")
        with RemoteCandidate(locked, source(text), Limits()) as remote:
            report = judge(MANY_NEURONS, remote).report
        wrong = {check.stage for check in report.checks if check.outcome in ("failed", "error")}
        assert wrong == {"Sigmoid"}
        assert any(said in check.message for check in report.checks)

    def test_nothing_passes_from_one_child_to_the_next(self, locked):
        """Neither between two submissions nor between two processes of one."""
        leave = "open('left', 'w').write('x')"
        find = "import os; assert os.listdir('.') == [], 'left behind'"
        said = failures(locked, find, f"exec({leave + '; os._exit(0)'!r})", find)
        assert said == ["stopped: it ended the process it ran in"]
        assert failures(locked, find, leave) == []
        assert failures(locked, find) == []

    def test_names_of_temporary_files_are_the_same_at_every_run(self, locked):
        say = "import tempfile; raise ValueError(tempfile.mkdtemp())"
        first, second = failures(locked, say), failures(locked, say)
        assert first == second == ["ValueError: …/tmp00000000"]

    def test_torch_has_all_that_it_has_elsewhere(self, locked):
        text = """
        import torch
        from torch import optim
        w = torch.ones(3, requires_grad=True)
        o = optim.SGD([w], lr=0.1); w.sum().backward(); o.step()
        assert torch.allclose(w, torch.full((3,), 0.9))
        assert torch.func.vjp(torch.sin, torch.zeros(2))[1](torch.ones(2))[0].sum() == 2
        torch.func.vmap(torch.sin)(w); torch.func.jvp(torch.sin, (w.detach(),), (w.detach(),))
        assert torch.compile(lambda x: x + 1)(1) == 2
        double = torch.compile(fullgraph=True)(lambda x: 2 * x)
        assert double(3) == 6
        assert torch.nn.Linear(2, 2).compile() is None
        """
        assert failures(locked, *textwrap.dedent(text).splitlines()) == []

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("torch.set_default_device('cuda')", ""),
            ("torch.set_default_device('meta'); torch.set_default_dtype(torch.float16)", ""),
            ("@torch.compile\ndef slope(a):\n    return a * (1 - a)\n", ""),
            ("", "optimizer = torch.optim.SGD([torch.ones(3, requires_grad=True)], lr=0.1)"),
        ],
    )
    def test_right_work_keeps_full_marks_beside_it(self, locked, before, after):
        classes = RIGHT.replace("g * a * (1 - a)", "g * slope(a)") if "slope" in before else RIGHT
        head, _, rest = classes.partition("class WeightedSum")
        with RemoteCandidate(
            locked, source(f"{head}{before}\nclass WeightedSum{rest}\n{after}\n"), Limits()
        ) as remote:
            assert remote.definition.failed == ()
            assert judge(MANY_NEURONS, remote).report.passed


WRITING = "open('secret', 'w').write('x')\nimport time\ntime.sleep(600)\n"


def told_to_write(line: Connection, folder: Path) -> tuple[ForkedChild, Path]:
    """A child that sleeps, and the file that it has written."""
    child = line.child(512, 5.0)
    child.channel.send(encode(Define(1, source(WRITING), [], None)))
    found: Path = until(lambda: next(folder.glob("*/tmp/secret"), None))
    return child, found


def until(found: Callable[[], Any], seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


@pytest.mark.slow
@LOCKED
def test_a_child_cannot_read_the_files_of_another_workers_child():
    with Zygote(["partial"]) as zygote, Connection(zygote.door) as line:
        child, secret = told_to_write(line, Path(zygote.wait()._scratch))
        (said,) = failures(zygote, f"open({str(secret)!r})")
        assert said.startswith("PermissionError")
        child.end()


@pytest.mark.slow
@LOCKED
@pytest.mark.parametrize(
    "killed",
    ["supervisor", *(pytest.param(each, marks=pytest.mark.proof) for each in ("warm", "judge"))],
)
def test_files_are_gone_whatever_is_killed(killed, tmp_path):
    program = """
    import os, time
    from pathlib import Path
    from grading.sandbox.zygote import Connection, Zygote
    from tests.test_scratch import told_to_write
    with Zygote(["partial"]) as zygote:
        line = Connection(zygote.door)
        warm = zygote.wait()
        child, file = told_to_write(line, Path(warm._scratch))
        print(file, warm._process.pid, file.parent.parent.name, os.getpid(), flush=True)
        input()
    """
    judge = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        env=os.environ | {"PYTHONPATH": str(PROJECT), "TMPDIR": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert judge.stdin and judge.stdout
    file, warm, supervisor, own = judge.stdout.readline().split()
    assert Path(file).exists()
    os.kill(int({"supervisor": supervisor, "warm": warm, "judge": own}[killed]), signal.SIGKILL)
    if killed == "warm":  # its judge notices when it is done
        judge.communicate("\n")
    until(lambda: not Path(file).exists())
    if killed == "supervisor":
        judge.communicate("\n")
    judge.wait()
    judge.stdin.close()
    judge.stdout.close()
