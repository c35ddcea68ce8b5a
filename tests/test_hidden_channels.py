"""What a student reads is a function of the outcomes of the checks, whatever hidden inputs hold.

Each attacker keeps what it is asked about and, once it has seen something hidden, spells some bits
of it through one channel. It is graded behind the real wall, with many seeds: wherever the outcomes
are the same, every word has to be the same. How long something takes is not looked at.
"""

from __future__ import annotations

import re
import textwrap

import pytest

from grading.exports.classroom import classroom_report
from grading.exports.gradescope import gradescope_results
from grading.pages.student import student_page
from grading.parsing.source import Cell, Source
from grading.submissions.reading import Submission
from grading.workers.grader import grade_submission
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment
from harness.course.settings import Settings
from harness.judging.judge import judge
from tests.right import MANY, Sigmoid, with_backward, with_forward

MANY_NEURONS = load_assignment("many-neurons")
SETTINGS = Settings(feedback="solution", policy={"delegates-to-autograd": "zero"})
SEEDS = range(1, 6)

# `SEEN` holds what the process was asked about, `bits` spells what of it is hidden. The first two
# calls of forward and the first three of backward are those on the public example.
ATTACKER = '''
import os, sys, tempfile
import torch
from torch.autograd import Function

SEEN, CALLS = [], [0, 0]
PUBLIC = {public}

def knows_all():
    """Whether it has seen public inputs only, as far as it was told of them."""
    return all(round(float(each.double().sum()), 3) in PUBLIC for each in SEEN)

def bits(count):
    total = sum(float(each.double().abs().sum()) for each in SEEN)
    return int(total * 1e6) % count

def kept(count):
    """Some bits of the first process that had any, in every other process too."""
    path = os.path.join(tempfile.gettempdir(), "kept")
    try:
        with open(path) as file:
            return int(file.read()) % count
    except Exception:
        with open(path, "w") as file:
            file.write(str(bits(2**20)))
        return bits(count)

class WeightedSum(Function):
    @staticmethod
    def forward(ctx, a_prev, w, b):
        ctx.save_for_backward(a_prev, w)
        return a_prev @ w.T + b

    @staticmethod
    def backward(ctx, g):
        a_prev, w = ctx.saved_tensors
        return g @ w, g.T @ a_prev, g.sum(0)

class SquaredError(Function):
    @staticmethod
    def forward(ctx, a, y):
        ctx.save_for_backward(a, y)
        return ((a - y) ** 2).sum() / len(a)

    @staticmethod
    def backward(ctx, g):
        a, y = ctx.saved_tensors
        return g * 2 * (a - y) / len(a), None

class Odd:
    pass

{before}

class Sigmoid(Function):
    @staticmethod
    def forward(ctx, z):
        SEEN.append(z.detach().clone())
        CALLS[0] += 1
        a = torch.sigmoid(z)
        ctx.save_for_backward(a)
        if CALLS[0] > {after}:
            pass
{forward}
        return a

    @staticmethod
    def backward(ctx, g):
        SEEN.append(g.detach().clone())
        CALLS[1] += 1
        (a,) = ctx.saved_tensors
        z = torch.log(a / (1 - a))
        right = g * a * (1 - a)
        if CALLS[1] > {after}:
            pass
{backward}
        return right
'''


def public_sums():
    """The sums of all that a Sigmoid is given of public inputs, whether it is right or wrong."""
    sums = set()

    def kept(value):
        sums.add(round(float(value.detach().double().sum()), 3))
        return value

    for factor in (1, 2):

        def forward(ctx, z):
            return Sigmoid.forward(ctx, kept(z))

        def backward(ctx, g, factor=factor):
            return factor * Sigmoid.backward(ctx, kept(g))

        sigmoid = with_forward(with_backward(Sigmoid, backward), forward)
        judge(MANY_NEURONS, Workbench({**MANY, "Sigmoid": sigmoid}))
    return sums


def attacker(backward="", forward="", before="", after=4, public="()"):
    """The source of an attacker, which starts after so many calls; given the ``public`` inputs,
    with the first one that is hidden."""
    return ATTACKER.replace("{before}", before).format_map(
        {
            "after": f"{after} and not knows_all()",
            "public": public,
            "forward": textwrap.indent(textwrap.dedent(forward), " " * 12),
            "backward": textwrap.indent(textwrap.dedent(backward), " " * 12),
        }
    )


LINES = "def tell(n):\n" + "\n".join(f"    if n == {n}: raise ValueError" for n in range(64))
KNOWN = repr(public_sums())
FORMULAS = "[g, g * a, g * (1 - a), a * (1 - a), 2 * right, -right, g * a * a, g * a * (1 + a)]"

CHANNELS = {
    "line": attacker("tell(bits(64))", before=LINES),
    "line in forward": attacker(forward="tell(bits(64))", before=LINES, after=2),
    "type": attacker("raise [ValueError, TypeError, KeyError, OSError, EOFError][bits(5)]"),
    "text": attacker("raise ValueError(str(bits(2**20)))"),
    "made up type": attacker("raise type(f'E{bits(9)}', (Exception,), {})"),
    "not written yet": attacker("raise [NotImplementedError, ValueError][bits(2)]"),
    "kind": attacker("return [1, 1.0, [1], (), {}, 'a', Odd(), None, Odd][bits(9)]"),
    "shape": attacker("return right.new_zeros(bits(50), bits(7))"),
    "axes": attacker("return right.reshape((1,) * bits(5) + right.shape) * 2"),
    "count": attacker("return (2 * right,) * (1 + bits(9))"),
    "more of nothing": attacker("return (right,) + (None,) * bits(3)"),
    "entry": attacker("right.flatten()[bits(right.numel())] += 1"),
    "value": attacker("return torch.full_like(right, bits(2**20))"),
    "output": attacker(forward="return torch.full_like(a, bits(2**20))", after=2),
    "output's kind": attacker(forward="return [1, [1], {}, a[None], a[0]][bits(5)]", after=2),
    "kind of value": attacker("return right * [0.0, float('inf'), float('nan'), 2.0][bits(4)]"),
    "formula": attacker(f"return {FORMULAS}[bits(8)]"),
    "formula, late": attacker(f"return {FORMULAS}[bits(8)]", after=26),
    "dtype": attacker("return right.to([torch.float16, torch.float32, torch.int64][bits(3)])"),
    "float32": attacker(
        "if g.dtype == torch.float32: raise [ValueError, TypeError, OSError][bits(3)]"
    ),
    "single or double": attacker("return right.to([g.dtype, torch.float64][bits(2)])"),
    "on ctx": attacker(forward="if bits(2): ctx.kept = a", after=2),
    "twice": attacker("return [right, right.detach()][bits(2)]"),
    "autograd": attacker("if bits(2): torch.enable_grad().__enter__()"),
    "in place": attacker("[g, a, torch.ones(2)][bits(3)].zero_()"),
    "returned before": attacker("SEEN[bits(len(SEEN))].zero_(); return SEEN[-1]"),
    "signal": attacker(
        """
        import ctypes
        [lambda: os._exit(1), os.abort, lambda: ctypes.string_at(0), sys.exit][bits(4)]()
        """
    ),
    "wire": attacker(
        """
        for number in range(3, 9):
            try:
                [os.close, lambda n: os.write(n, b'x' * 99), lambda n: os.write(n, b'')][bits(3)](
                    number
                )
            except OSError:
                pass
        os._exit(1)
        """
    ),
    "loop": attacker("while bits(2): pass\nos._exit(1)"),
    "memory": attacker("x = bytearray(2**40) if bits(2) else right.shape[9]"),
    "recursion": attacker("down = lambda n: down(n)\nreturn down(1) if bits(2) else 1 / 0"),
    "output streams": attacker("print(bits(99)); os.write(2, b'x' * bits(99)); raise OSError"),
    "prints": attacker("print('x\\n' * bits(9)); raise OSError"),
    "prints, knowing": attacker("print(bits(64))", public=KNOWN),
    "variable": attacker("s = [1, (), None][bits(3)]\ns.odd"),
    "mixture": attacker("return [right, right + g @ torch.ones(g.shape)][bits(2)]", after=0),
    "a file": attacker("raise ValueError(str(kept(2**20)))"),
    "a file, then dies": attacker("kept(2**20); os._exit(1)", "tell(kept(64))", LINES, after=0),
    "module attributes": attacker("setattr(torch, 'kept', bits(64)); tell(torch.kept)", "", LINES),
    "chain": attacker("return right * (1 + bits(5))", after=100),
    "line, knowing": attacker("tell(bits(64))", before=LINES, public=KNOWN),
    "value, knowing": attacker("return torch.full_like(right, bits(99) / 7)", public=KNOWN),
    "shape, knowing": attacker("return right.new_zeros(bits(50), bits(7))", public=KNOWN),
    "signal, knowing": attacker("[os.abort, lambda: os._exit(1)][bits(2)]()", public=KNOWN),
    "formula, knowing": attacker(f"return {FORMULAS}[bits(8)]", public=KNOWN),
    "in place, knowing": attacker("[g, a, torch.ones(2)][bits(3)].zero_()", public=KNOWN),
    "on ctx, knowing": attacker(forward="if bits(2): ctx.kept = a", after=2, public=KNOWN),
    "late line": attacker("tell(bits(64))", before=LINES, after=110),
    "training step": attacker("return right * (1 + (CALLS[1] > 130 + bits(60)))", after=110),
    "training line": attacker(
        "if CALLS[1] > 130 + bits(60): tell(bits(64))", before=LINES, after=110
    ),
}  # fmt: skip


def read_by_a_student(result):
    """All that reaches a student in some way, but for times."""
    plain = (gradescope_results(result), classroom_report(result))
    text = "\n".join([student_page(result, SETTINGS), *map(repr, plain)])
    text = re.sub(r"'execution_time': \d+", "", text)
    # Of a value a student may know whether it was NaN, infinite, zero or another.
    return re.sub(r" A value came back as (NaN|infinity|zero)\.", "", text)


def told(zygote, code, seeds=SEEDS):
    """The texts that come with each set of outcomes, over the seeds."""
    source = Source((Cell("submission.py", code),), notebook=False)
    texts: dict[object, set[str]] = {}
    for seed in seeds:
        graded = grade_submission(
            Submission("alice", "", source=source), MANY_NEURONS, SETTINGS, seed, zygote
        )
        assert graded.result.status == "graded"
        outcomes = tuple((check.id, check.outcome, check.points) for check in graded.result.checks)
        texts.setdefault(outcomes, set()).add(read_by_a_student(graded.result))
    return texts


QUICK = {"line", "signal, knowing", "formula, knowing", "training line"}


@pytest.mark.parametrize(
    "channel",
    [
        pytest.param(name, marks=pytest.mark.slow if name in QUICK else pytest.mark.proof)
        for name in CHANNELS
    ],
)
def test_the_outcomes_alone_decide_what_a_student_reads(zygote, channel):
    for outcomes, texts in told(zygote, CHANNELS[channel]).items():
        assert len(texts) == 1, [each for each in outcomes if each[1] != "passed"]
