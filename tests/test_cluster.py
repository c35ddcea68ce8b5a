"""Grading on a dask cluster: a real scheduler and real workers, which die while it runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from grading.cli import main
from grading.parsing.source import File
from grading.results.lines import Seconds, encode_result
from grading.results.record import read_results
from grading.sandbox import LOCKED
from grading.submissions.reading import Entry, find_submissions
from grading.workers import on_cluster
from grading.workers.cluster import open_cluster
from grading.workers.jobs import Graded, Job
from harness.course.settings import Settings
from harness.errors import UserError
from tests.test_cli import WRONG, backprop
from tests.test_exports import check, result
from tests.test_remote import RIGHT

HERE = Path(__file__).parent
CLASS = HERE / "sample_class/one-neuron/submissions"
# What a worker has that is not as it should be: it is loaded before the worker connects.
OTHER_CODE = "from grading.workers import on_cluster\non_cluster.own_source = lambda: 'other'\n"
NO_ISOLATION = """
from grading.confined.spawner import SpawnerError
from grading.workers import on_cluster
def refuse(*_):
    raise SpawnerError("bwrap is not installed")
on_cluster.open_zygote = refuse
"""
DEADLY = """
import os
from grading.workers import worker
class Workplace(worker.Workplace):
    def grade(self, entry, job, **more):
        if entry.name == "deadly":
            os._exit(1)
        return super().grade(entry, job, **more)
# A preload can run twice.
if worker.Workplace.__module__ == "grading.workers.worker":
    worker.Workplace = Workplace
"""


@contextmanager
def started(*arguments, log):
    """A process of the cluster, with its own group, which is killed in the end."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            stdout=file,
            stderr=file,
            cwd=log.parent,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def scheduler(folder, *options, protocol="tcp"):
    """A scheduler; yields its address."""
    told = folder / "scheduler.json"
    told.unlink(missing_ok=True)
    command = "distributed.cli.dask_scheduler", "--host", f"{protocol}://127.0.0.1", "--port", "0"
    with started(
        *command, "--no-dashboard", "--scheduler-file", told, *options, log=folder / "scheduler.log"
    ) as process:
        while not told.exists():
            assert process.poll() is None, (folder / "scheduler.log").read_text()
            time.sleep(0.1)
        time.sleep(0.2)
        yield json.loads(told.read_text())["address"]


@contextmanager
def worker(folder, address, *options, preload=""):
    """A nanny and its worker process."""
    if preload:
        script = folder / f"preload{len(list(folder.glob('preload*')))}.py"
        script.write_text(preload)
        options = (*options, "--preload", script)
    command = "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"
    log = folder / f"worker{len(list(folder.glob('worker*.log')))}.log"
    place = folder / log.stem
    with started(*command, "--local-directory", place, *options, log=log) as process:
        yield process


@contextmanager
def grading(folder, address, out):
    """The command, grading the sample class."""
    asked = "grade", str(CLASS), "--assignment", "one-neuron", "--seed", "7"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "grading.cli", *asked),
            *("--out", str(out), "--scheduler", address),
        ],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(out):
    """How many submissions are in the journal."""
    journal = out / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def wait_for(number, out, process):
    while finished(out) < number:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)


def kill_worker_of(nanny):
    """Kill the worker process with signal 9; its nanny starts another."""
    lists = (path.read_text() for path in Path(f"/proc/{nanny.pid}/task").glob("*/children"))
    children = [int(child) for children in lists for child in children.split()]
    (process,) = [
        child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    os.kill(process, signal.SIGKILL)


def untimed(results):
    return [encode_result(msgspec.structs.replace(each, seconds=None)) for each in results]


class TestAddress:
    @pytest.mark.parametrize(
        ("address", "said"),
        [
            ("tcp://10.0.0.1:8786", "can run code on its workers: start it with TLS"),
            ("tcp://example.org:8786", "give tls://example.org:8786"),
            ("8786", "not a scheduler's address"),
            ("ucx://127.0.0.1:8786", "not a scheduler's address"),
            ("local:many", "not a scheduler's address"),
            ("", "--scheduler' is empty"),
            ("local:1000", "local:1000 is more than this machine bears: give local:"),
            ("local:0", "not a scheduler's address"),
        ],
    )
    def test_an_address_that_is_wrong_or_open_to_others_is_refused(self, tmp_path, address, said):
        (tmp_path / "class").mkdir()
        (tmp_path / "class/ada.py").write_text("")
        asked = ["grade", str(tmp_path / "class"), "--assignment", "one-neuron"]
        run = CliRunner().invoke(
            main, [*asked, "--out", str(tmp_path / "out"), "--scheduler", address]
        )
        assert run.exit_code == 2 and said in " ".join(run.output.split())

    @pytest.mark.proof
    def test_a_scheduler_that_is_not_there_is_told(self, tmp_path):
        with grading(tmp_path, "tcp://127.0.0.1:9", tmp_path / "out") as run:
            said = run.communicate()[1]
        assert run.returncode == 2 and "Traceback" not in said
        assert "The scheduler at tcp://127.0.0.1:9 cannot be reached" in said


# As the system gives those of files, whatever bytes they have.
NAMES = st.binary().map(os.fsdecode)


class TestBytes:
    @given(name=NAMES, file=NAMES, data=st.binary())
    def test_any_name_and_any_bytes_arrive_as_they_were(self, name, file, data):
        entry = Entry(name, (), file=file, names=(file,))
        work = on_cluster.Work(entry, [File(file, data)], name, False)
        assert on_cluster.decode(on_cluster.Work, on_cluster.encode(work)) == work

    @given(NAMES, st.floats(0, 1))
    def test_so_does_what_is_graded(self, text, seconds):
        graded = result(text, check("failed", text))
        graded = msgspec.structs.replace(graded, seconds=Seconds(seconds, seconds))
        reply = on_cluster.Reply(Graded(graded, again=False), trouble=text)
        assert on_cluster.decode(on_cluster.Reply, on_cluster.encode(reply)) == reply


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The sample class as this machine grades it."""
    folder = tmp_path_factory.mktemp("local")
    asked = "grade", CLASS, "--assignment", "one-neuron", "--seed", 7, "--out", "out"
    assert backprop(*asked, cwd=folder).returncode == 0
    return read_results(folder / "out")


@pytest.mark.proof
class TestRuns:
    def test_workers_that_come_late_and_are_killed_change_no_mark(self, tmp_path, local):
        out = tmp_path / "out"
        with (
            scheduler(tmp_path) as address,
            worker(tmp_path, address, preload=OTHER_CODE),
            worker(tmp_path, address, preload=NO_ISOLATION),
            worker(tmp_path, address, "--nthreads", "2"),
            worker(tmp_path, address) as first,
            grading(tmp_path, address, out) as run,
        ):
            wait_for(5, out, run)
            with worker(tmp_path, address) as second:
                wait_for(12, out, run)
                kill_worker_of(first)
                wait_for(30, out, run)
                os.killpg(second.pid, signal.SIGKILL)
                said = run.communicate()[1]
        assert run.returncode == 0, said
        assert untimed(read_results(out)) == untimed(local)
        assert "code of backprop-harness is not the same" in said
        assert "bwrap is not installed" in said
        assert "It has 2 threads: start it with --nthreads 1." in said

    def test_where_the_scheduler_is_killed_all_is_kept_and_this_machine_goes_on(
        self, tmp_path, local
    ):
        out = tmp_path / "out"
        with ExitStack() as stack:
            with scheduler(tmp_path) as address, worker(tmp_path, address):
                run = stack.enter_context(grading(tmp_path, address, out))
                wait_for(10, out, run)
            said = run.communicate()[1]
        assert run.returncode == 2 and "Traceback" not in said
        assert f"The scheduler at {address} is gone" in said
        kept = finished(out)
        again = "grade", CLASS, "--assignment", "one-neuron", "--out", out
        run = backprop(*again, cwd=tmp_path)
        assert f"{48 - kept} graded, {kept} unchanged" in run.stdout, run.stderr
        assert untimed(read_results(out)) == untimed(local)

    def test_two_clusters_of_one_machine_are_not_in_each_others_way(self):
        job = Job("many-neurons", Settings(), 0)
        # A warning, of a port that is taken for instance, is an error here.
        with open_cluster("local:1", job, LOCKED), open_cluster("local:1", job, LOCKED):
            pass

    def test_a_client_that_has_given_up_says_that_the_scheduler_is_gone(self, tmp_path):
        # Of four, two have not been handed out when the first is graded.
        for name in ("ada", "bob", "eve", "zoe"):
            (tmp_path / f"{name}.py").write_text("".join(RIGHT))
        job = Job("many-neurons", Settings(), 0)
        with open_cluster("local:1", job, LOCKED) as cluster:
            graded = cluster.grade(find_submissions(tmp_path), job)
            assert next(graded).result.score == 10
            cluster._client.sync(cluster._client._close)
            with pytest.raises(UserError, match="The scheduler at local:1 is gone"):
                list(graded)
            with pytest.raises(UserError, match="The scheduler at local:1 is gone"):
                list(cluster.grade(find_submissions(tmp_path), job))

    def test_a_submission_that_no_worker_survives_is_the_graders_fault(self, tmp_path):
        class_ = tmp_path / "class"
        class_.mkdir()
        for name in ("ada", "deadly", "zoe"):
            (class_ / f"{name}.py").write_text(WRONG if name == "ada" else "".join(RIGHT))
        with scheduler(tmp_path) as address, worker(tmp_path, address, preload=DEADLY):
            asked = "grade", class_, "--assignment", "many-neurons", "--scheduler", address
            run = backprop(*asked, "--out", "out", cwd=tmp_path)
        results = {each.submission: each for each in read_results(tmp_path / "out")}
        assert run.returncode == 1, run.stderr
        assert results["deadly"].status == "grader_error" and results["deadly"].score is None
        assert (results["zoe"].score, results["ada"].score) == (10, 6)

    def test_names_that_are_not_utf_8_are_graded_as_here(self, tmp_path):
        class_ = tmp_path / "class"
        (class_ / "bob").mkdir(parents=True)
        for name in (b"bad\xff.py", b"bob/m\xfcller.py"):
            Path(os.fsdecode(bytes(class_) + b"/" + name)).write_text("".join(RIGHT))
        asked = "grade", class_, "--assignment", "many-neurons", "--seed", 7
        for out, more in (("here", ()), ("there", ("--scheduler", "local:1"))):
            run = backprop(*asked, "--out", out, *more, cwd=tmp_path)
            assert run.returncode == 0, run.stderr
        here, there = (read_results(tmp_path / out) for out in ("here", "there"))
        assert untimed(there) == untimed(here) and [each.score for each in there] == [10, 10]

    def test_where_no_worker_can_grade_the_first_reason_is_told(self, tmp_path):
        with (
            scheduler(tmp_path) as address,
            worker(tmp_path, address, "--nthreads", "2"),
        ):
            time.sleep(3)
            with grading(tmp_path, address, tmp_path / "out") as run:
                said = run.communicate()[1]
        assert run.returncode == 2 and "Traceback" not in said
        assert f"No worker of {address} can grade." in said and "--nthreads 1" in said

    def test_a_course_of_ones_own_comes_along_and_nobody_listens_in(self, tmp_path, monkeypatch):
        for name, value in certificates(tmp_path).items():
            monkeypatch.setenv(name, value)
        course = HERE.parent / "examples"
        class_ = tmp_path / "class"
        class_.mkdir()
        for number in range(3):
            solution = course / "solutions/curve-fitting/curve-fitting.py"
            shutil.copy(solution, class_ / f"student{number}.py")
        with (
            scheduler(tmp_path, protocol="tls") as address,
            worker(tmp_path, address),
        ):
            assert address.startswith("tls://")
            asked = "grade", class_, "--course", course, "--assignment", "curve-fitting"
            run = backprop(*asked, "--scheduler", address, "--out", "out", cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        assert [each.score for each in read_results(tmp_path / "out")] == [10, 10, 10]


def certificates(folder):
    """An authority, a key and a certificate, and the settings of dask that name them."""
    if shutil.which("openssl") is None:
        if "CI" in os.environ:
            pytest.fail("openssl is missing")
        pytest.skip("needs openssl")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    named = {"CA_FILE": certificate}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        named |= {f"{role}__KEY": key, f"{role}__CERT": certificate}
    return {f"DASK_DISTRIBUTED__COMM__TLS__{name}": str(path) for name, path in named.items()}
