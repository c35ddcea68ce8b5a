"""In what Gradescope gives a submission, 768 MB and half a core, and in less memory than workers
may use: nobody loses points for it, and nobody holds the grader for long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from tests.control_groups import control_group
from tests.test_gradescope import unpacked, with_python
from tests.test_remote import HEAD, RIGHT, SIGMOID, SQUARED_ERROR, WEIGHTED_SUM
from tests.users import PROJECT

pytestmark = pytest.mark.proof

GRADESCOPE = (768_000_000 // 2**20, 0.5)
RIGHT_SECONDS, HOSTILE_SECONDS = 30, 400

LOOP = "while True: pass"
BURSTS = """while True:
    until = time.process_time() + 0.01
    while time.process_time() < until: pass
    time.sleep(0.13)"""
HOG = """kept = []
while True: kept.append(bytearray(10**6))"""
HOG_BY_PAGES = """import mmap
kept = mmap.mmap(-1, 10**9)
for at in range(0, 10**9, 4096): kept[at] = 1"""
SENDS = """
import msgspec
def send(**news):
    frame = sys._getframe()
    while not {"channel", "request"} <= frame.f_locals.keys():
        frame = frame.f_back
    call = frame.f_locals["request"].call
    frame.f_locals["channel"].send(msgspec.msgpack.encode({"call": call} | news))
"""
FLOOD = f"""{SENDS}
for index in range(99, 999):
    send(type="started", index=index, place=" " * 2**23)
"""
FORGERY = """send(type="answers", first=0, replies=[["Returns", []]] * 10**4)"""
LARGE = "return torch.zeros(1000, 1000, dtype=torch.float64)"


def before(code):
    return "".join((HEAD, f"{code}\n", *RIGHT[1:]))


def in_backward(code, head=""):
    """Right work whose backward passes do something else first."""
    body = "\n".join(f"        {line}" for line in code.split("\n"))
    start = "def backward(ctx, g):\n"
    stages = WEIGHTED_SUM + SIGMOID + SQUARED_ERROR
    return HEAD + head + stages.replace(start, f"{start}{body}\n")


HOSTILE = {
    "loops at the top": before(f"{LOOP}\n" * 9),
    "loops in backward": in_backward(LOOP),
    "bursts at the top": before(BURSTS),
    "bursts in backward": in_backward(BURSTS),
    "slow in every call": in_backward(BURSTS.replace("while True", "for _ in range(60)")),
    "sleep at the top": before("time.sleep(8)\n" * 9),
    "sleep in backward": in_backward("time.sleep(8)"),
    "memory at the top": before(HOG),
    "memory in backward": in_backward(HOG),
    "memory by pages": before(HOG_BY_PAGES),
    "memory by pages in backward": in_backward(HOG_BY_PAGES),
    "output without end": before(FLOOD),
    "forged answers": in_backward(FORGERY, SENDS),
    "large answers": in_backward(LARGE),
    "many that exit": before("os._exit(1)\n" * 99),
    "many that crash": before("import ctypes; ctypes.string_at(0)\n" * 99),
    "a closed channel": in_backward(f"os.closerange(3, 9)\n{LOOP}"),
    "recursion": in_backward("return WeightedSum.backward(ctx, g)"),
    "long texts": in_backward("raise ValueError('x' * 10**8)"),
    "brackets": "(" * 10**6,
}
# The others take minutes too: `python -m tests.test_containers` measures all of them.
TRIED = ("bursts in backward", "loops in backward", "memory by pages", "output without end")


def gradescope(base, code):
    """What comes of the code in Gradescope's container: results.json, and the seconds it took."""
    base.mkdir(exist_ok=True)
    unpacked(base)
    (base / "submission" / "work.py").write_text(code)
    with control_group(*GRADESCOPE) as group:
        start = time.monotonic()
        done = subprocess.run(
            [*group.around(), base / "run_autograder"],
            cwd="/",
            env={**os.environ, "PATH": with_python()},
            capture_output=True,
            check=False,
        )
        seconds = time.monotonic() - start
        peak = group.peak_mib()
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((base / "results" / "results.json").read_text()), seconds, peak


def test_a_right_submission_has_its_mark_within_half_a_minute(tmp_path):
    found, seconds, _ = gradescope(tmp_path, "".join(RIGHT))
    assert found["score"] == 10
    assert seconds < RIGHT_SECONDS


@pytest.mark.parametrize("name", TRIED)
def test_a_hostile_one_has_its_mark_in_time(tmp_path, name):
    found, seconds, _ = gradescope(tmp_path, HOSTILE[name])
    assert 0 <= found["score"] <= 10
    assert seconds < HOSTILE_SECONDS


MEMORY = "keep = bytearray(450 * 10**6); time.sleep(1.5)"


def test_marks_do_not_depend_on_the_number_of_workers(tmp_path):
    """Two at once do not fit: who is killed for it is graded again, alone."""
    folder = tmp_path / "submissions"
    folder.mkdir()
    for number in range(4):
        (folder / f"s{number}.py").write_text(before(MEMORY))
    marks = {}
    for workers in ("1", "2"):
        out = tmp_path / f"out-{workers}"
        with control_group(1100, 2.0) as group:
            done = subprocess.run(
                [
                    *group.around(),
                    *(sys.executable, "-m", "grading.cli", "grade", str(folder)),
                    *("--assignment", "many-neurons", "--seed", "0"),
                    *("--out", str(out), "--workers", workers),
                ],
                cwd=PROJECT,
                capture_output=True,
                text=True,
                check=False,
            )
            killed = group.kills()
        assert done.returncode == 0, done.stderr
        assert "are available" in done.stderr
        lines = (out / "results.jsonl").read_text().splitlines()
        marks[workers] = [(each["score"], each["flags"]) for each in map(json.loads, lines)]
    assert killed
    assert marks["1"] == marks["2"] == [(10.0, [])] * 4


def _main():
    from pathlib import Path
    from tempfile import TemporaryDirectory

    for name in sys.argv[1:] or ("right", *HOSTILE):
        code = HOSTILE.get(name) or "".join(RIGHT)
        with TemporaryDirectory() as folder:
            found, seconds, peak = gradescope(Path(folder), code)
        print(f"{name:28} {found['score']:5g}  {seconds:5.0f} s  {peak:4.0f} MiB", flush=True)


if __name__ == "__main__":
    _main()
