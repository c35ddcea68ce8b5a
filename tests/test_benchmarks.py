"""The benchmark's own parts: its submissions, its meter, and that all contenders do the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import types
from dataclasses import replace

import click
import pytest
import torch
from torch.autograd.gradcheck import GradcheckError

from benchmarks import seeds
from benchmarks.compare import Findings, Plan, Record
from benchmarks.forwards import rest_of
from benchmarks.limit import judge_file
from benchmarks.meter import ROOT, Command, descendants, measure, pss_kib
from benchmarks.mix import make_loops, make_mix, sample_of, write_mix
from benchmarks.peer_checks import check_sigmoid, check_squared_error, check_weighted_sum
from benchmarks.seeds import PLAIN, Kept, judged_near, prepared, seed_number
from benchmarks.styles import CRASHES, RIGHT_RETURNS, STAGES, STYLES, WRONG_RETURNS, plain
from benchmarks.tables import facts_of, tables_of
from harness.candidate.workbench import Workbench
from harness.course.assignments import SHIPPED, load_assignment
from harness.judging.judge import judge
from harness.training.task import train_reference
from tests.right import MANY, Sigmoid, SquaredError, WeightedSum, with_backward

pytestmark = pytest.mark.slow

MANY_NEURONS = load_assignment("many-neurons")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the meter reads /proc")


def defined(code):
    names = {"__name__": "submission"}
    exec(f"import torch\nfrom torch.autograd import Function\n\n{code}", names)
    return names


def test_the_same_seed_makes_the_same_submissions():
    assert make_mix(40, seed=3) == make_mix(40, seed=3) != make_mix(40, seed=4)


def test_half_of_the_submissions_are_right_and_no_two_are_alike():
    mix = make_mix(100)
    assert sum(each.right for each in mix) == 50
    assert len({each.name for each in mix}) == len({each.module for each in mix}) == 100


def test_a_sample_is_right_and_wrong_by_turns():
    mix = make_mix(40)
    sample = sample_of(mix, 6)
    assert [each.right for each in sample] == [True, False] * 3
    assert set(sample) <= set(mix)


@pytest.mark.proof
def test_submissions_are_judged_as_they_are_meant(tmp_path):
    mix = make_mix(24)
    write_mix(tmp_path, mix)
    passed = {each.name: judge_file(tmp_path / f"{each.name}.py").passed for each in mix}
    assert passed == {each.name: each.right for each in mix}


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_right(style):
    _, written = STYLES[style]
    names = defined("\n\n".join([written.above, *written.classes.values()]))
    assert judge(MANY_NEURONS, Workbench(names)).report.passed


@pytest.mark.parametrize("stage", STAGES)
def test_every_way_to_return_is_what_it_is_said_to_be(stage):
    only = [f"{MANY_NEURONS.stage(stage).slug}/{check}" for check in ("purity", "layout")]

    def passes(returned):
        names = {**MANY, stage: defined(plain(stage, returned))[stage]}
        # The manners need every gradient of the stage.
        return judge(MANY_NEURONS, Workbench(names), only=only).report.passed

    assert all(map(passes, RIGHT_RETURNS[stage]))
    assert not any(map(passes, [*WRONG_RETURNS[stage].values(), CRASHES[stage]]))


def test_a_loop_is_in_one_stage_each_and_parses():
    for each, stage in zip(make_loops(), STAGES, strict=True):
        compile(each.module, each.name, "exec")
        assert each.code.count("while True") == 1
        assert stage.lower() in each.name


def test_the_peers_check_the_stages():
    check_weighted_sum(WeightedSum)
    check_sigmoid(Sigmoid)
    check_squared_error(SquaredError)
    lost = plain("SquaredError", WRONG_RETURNS["SquaredError"]["lost-factor-two"])
    with pytest.raises(GradcheckError):
        check_squared_error(defined(lost)["SquaredError"])


def test_the_peers_train_as_the_harness_does(tmp_path, monkeypatch):
    shutil.copy(ROOT / "benchmarks" / "peer_checks.py", tmp_path)
    shutil.copy(ROOT / "harness" / "training" / "data" / "digits.npz", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    peer_checks: types.ModuleType = __import__("peer_checks")
    stages = [MANY_NEURONS.stage(name) for name in STAGES]
    ours = train_reference(MANY_NEURONS.task, tuple((each.name, each.forward) for each in stages))
    assert peer_checks.train(*(each.forward for each in stages)) == ours.accuracy
    peer_checks.check_training(WeightedSum, Sigmoid, SquaredError)
    frozen = with_backward(Sigmoid, lambda ctx, g: torch.zeros_like(g))
    with pytest.raises(AssertionError, match="right"):
        peer_checks.check_training(WeightedSum, frozen, SquaredError)


BURN = "import time\nwhile time.process_time() < 0.4: pass\n"


def measured(tmp_path, code, **options):
    command = Command([sys.executable, "-c", code], str(tmp_path), {"CODE": BURN})
    return measure([command], tmp_path / "log", **options)


@on_linux
def test_the_meter_counts_the_processor_time_of_a_command(tmp_path):
    usage = measured(tmp_path, BURN)
    assert usage.codes == [0]
    assert 0.4 <= usage.cpu <= 3
    assert 0 <= usage.others <= (os.cpu_count() or 1)
    assert usage.left == 0


@on_linux
def test_the_meter_counts_those_whose_parent_is_gone(tmp_path):
    orphan = (
        "import os, subprocess, sys\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "subprocess.Popen([sys.executable, '-c', os.environ['CODE']])\n"
    )
    assert measured(tmp_path, orphan).cpu >= 0.4


@on_linux
def test_the_meter_tells_how_commands_end_and_what_they_say(tmp_path):
    usage = measured(tmp_path, "print('said'); raise SystemExit(3)")
    assert usage.codes == [3]
    assert "said" in (tmp_path / "log").read_text()


@on_linux
def test_the_meter_samples_the_memory_of_the_whole_tree(tmp_path):
    hold = "x = bytearray(b'1') * 50_000_000; import time; time.sleep(1)"
    both = (
        "import subprocess, sys\n"
        f"run = [sys.executable, '-c', {hold!r}]\n"
        "for each in [subprocess.Popen(run), subprocess.Popen(run)]: each.wait()\n"
    )
    usage = measured(tmp_path, both, sample_seconds=0.02)
    assert 95 <= max(usage.pss) <= 250
    assert usage.unseen == 0


@on_linux
def test_descendants_are_found_and_their_memory_read():
    code = "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        assert child.pid in descendants(os.getpid())
        assert pss_kib(child.pid) > 0
        child.kill()


def test_ratios_are_those_of_the_same_round():
    # The machine was twice as slow in the second round: the ratio is the same.
    findings = Findings(
        Plan(),
        [
            Record("limit", 2, 0, 10, wall=1.0, cpu=2.0),
            Record("grade", 2, 0, 10, wall=1.2, cpu=2.4),
            Record("grade", 2, 1, 10, wall=2.4, cpu=4.8),
            Record("limit", 2, 1, 10, wall=2.0, cpu=4.0),
        ],
    )
    (ratios,) = (table for table in tables_of(findings) if table.title == "Side by side")
    assert ratios.rows == [("grade ÷ limit, 2 at once: wall", "1.2 (1.2–1.2)", "≤ 1.25")]
    assert "| 1.2 (1.2–1.2) |" in ratios.markdown()


def test_a_busy_machine_is_told():
    assert not any(
        "DISTURBED" in fact for fact in facts_of(Findings(Plan(), others=[0.02, 0.03, 0.5]))
    )
    assert any("DISTURBED" in fact for fact in facts_of(Findings(Plan(), others=[0.02, 0.4, 0.5])))


@pytest.mark.parametrize("odd", range(4))
def test_a_mark_that_differs_under_one_seed_is_listed_after_a_restart_too(tmp_path, odd):
    for index in range(4):
        marks = {"a": "10 of 10", "b": "9 of 10" if index == odd else "10 of 10"}
        Kept(tmp_path / "kept").add(PLAIN, index, 1.0, marks)
    kept = Kept(tmp_path / "kept")
    assert list(kept.odd(PLAIN)) == [("b", seed_number(odd), "9 of 10", "10 of 10")]
    assert set(kept.done[PLAIN]) == set(range(4))
    assert "| without training | 2 | 4 | 1 | 1.0 |" in list(kept.table())


def test_marks_with_mutants_are_not_added_to_marks_without(tmp_path):
    Kept(tmp_path / "kept", mutants=False)
    with pytest.raises(click.ClickException, match="other mutants: name another file"):
        Kept(tmp_path / "kept")


@pytest.mark.proof
def test_some_of_everything_gets_the_same_marks_under_two_seeds(monkeypatch):
    some = {}
    for name in SHIPPED:
        assignment, solved, judged = prepared(name)
        some[name] = (assignment, solved, judged[::90])
    monkeypatch.setattr(seeds, "prepared", some.__getitem__)
    (_, _, one), (_, _, other) = (judged_near(index, PLAIN) for index in (1, 2))
    assert one == other
    score, _, most = one["many-neurons: solution"].partition(" of ")
    assert score == most
    assert sum(", " in mark for mark in one.values()) > 10


@pytest.mark.proof
def test_what_shares_a_forward_fails_the_checks_that_it_fails_by_itself(monkeypatch):
    found = []
    for share in (True, False):
        some = {}
        for name in SHIPPED:
            assignment, solved, judged = prepared(name)
            chosen = [each for each in judged if each.shared][::40]
            if not share:
                chosen = [replace(each, shared="") for each in chosen]
            some[name] = (assignment, solved, chosen)
        monkeypatch.setattr(seeds, "prepared", some.__getitem__)
        _, _, marks = judged_near(3, PLAIN)
        # How many points there are to lose depends on which checks are made.
        found.append({name: mark.partition(", ")[2] for name, mark in marks.items()})
    assert found[0] == found[1]
    assert len(found[0]) > 30
    assert len(set(found[0].values())) > 10


CLASS = """
class Double(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        x, = ctx.saved_tensors
        return 2 * g
"""


@pytest.mark.parametrize(
    "line",
    [
        "x.mul_(2)",
        "x += 1",
        "x[0] = 1",
        "ctx.x = x",
        "Double.x = x",
        "torch.add(x, x, out=x)",
        "print(x)",
        "global y",
        "y = lambda: x.zero_",
    ],
)
def test_a_class_whose_backward_may_do_more_than_compute_shares_no_forward(line):
    assert rest_of(CLASS) == rest_of(CLASS.replace("2 * g", "3 * g")) != ""
    assert rest_of(CLASS.replace("2 * x", "3 * x")) not in ("", rest_of(CLASS))
    assert not rest_of(CLASS.replace("        return 2 * g", f"        {line}\n        return g"))
