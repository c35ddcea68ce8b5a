"""Right work that does what students' machines allow gets full marks where it is graded, too."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch

from grading.sandbox import can_fork
from harness.many_neurons import check, train
from tests.test_choosing import FORWARD, HEAD, WORK, graded, notebook, put
from tests.test_remote import SIGMOID, SQUARED_ERROR, WEIGHTED_SUM

SLOPED = FORWARD + "        (a,) = ctx.saved_tensors\n        return g * slope(a)\n"

# A file, and the text that its advice holds, or that it has no advice.
FULL = {
    "alias.py": (WORK + "".join(f"{n} = {n}.apply\n" for n in ("WeightedSum", "Sigmoid")), ""),
    "pip.ipynb": (notebook("!pip install \\\n    a \\\n    b\n" + HEAD, WORK), ""),
    "time.ipynb": (
        notebook(
            HEAD, "%time slope = lambda a: a * (1 - a)\n" + WEIGHTED_SUM, SLOPED, SQUARED_ERROR
        ),
        "",
    ),
    "export.py": (
        HEAD
        + "get_ipython().run_line_magic('time', 'slope = lambda a: a * (1 - a)')\n"
        + WEIGHTED_SUM + SLOPED + SQUARED_ERROR,
        "",
    ),
    "written.ipynb": (
        notebook(
            "%%writefile own.py\ndef slope(a):\n    return a * (1 - a)",
            HEAD + "from own import slope",
            WEIGHTED_SUM + SLOPED + SQUARED_ERROR,
        ),
        "",
    ),
    "run.ipynb": (
        notebook(
            "%%file own.py\ndef slope(a):\n    return a * (1 - a)",
            HEAD + "%run own.py",
            WEIGHTED_SUM + SLOPED + SQUARED_ERROR,
        ),
        "",
    ),
    "missing.py": ("import seaborn as sns, torch\n" + WORK, "No module named 'seaborn'"),
    "base.ipynb": (
        notebook(
            HEAD, WEIGHTED_SUM, SIGMOID.replace("(Function)", "(Base)"), SQUARED_ERROR,
            "class Base(Function):\n    pass",
        ),
        "it needs Base, which is defined below, in cell 5",
    ),
    "import.ipynb": (
        notebook(WEIGHTED_SUM, SIGMOID, SQUARED_ERROR, HEAD),
        "it needs Function, which is defined below, in cell 4",
    ),
    "killing.ipynb": (
        notebook("class Extra(end()): pass", WORK, "import os\ndef end(): os._exit(1)"),
        "The code at cell 1, line 1 was skipped: it ended the process",
    ),
    "newer.py": (WORK + "try:\n    d = 1\nexcept KeyError, ValueError:\n    pass\n", "Python 3.14"),
    "device.py": (
        WORK.replace("(1 - a)", "(torch.ones(1) - a)") + "torch.set_default_device('meta')\n",
        "",
    ),
    "cuda.py": (WORK + "torch.set_default_device('cuda')\n", ""),
    "dtype.py": (WORK + "torch.set_default_dtype(torch.float16)\n", ""),
    "compiled.py": (
        HEAD + "@torch.compile\ndef slope(a):\n    return a * (1 - a)\n"
        + WEIGHTED_SUM + SLOPED + SQUARED_ERROR,
        "",
    ),
    "optim.py": (WORK + "torch.optim.SGD([torch.ones(3, requires_grad=True)], lr=0.1)\n", ""),
    "temporary.py": (WORK + "import tempfile\ntempfile.TemporaryFile().write(b'x')\n", ""),
}  # fmt: skip
PART = {
    "debugged.py": (
        WORK.replace("        (a,) =", "        breakpoint()\n        (a,) ="),
        "Sigmoid.backward stopped in the debugger: remove the breakpoint in line 28.",
    ),
    "renamed.py": (
        WORK.replace("class Sigmoid", "class MySigmoid"),
        "There is no class Sigmoid; the class MySigmoid looks like it.",
    ),
    "used.py": (
        WORK.replace("return g * a", "return jnp.multiply(g, a)").replace(
            HEAD, HEAD + "import jax.numpy as jnp\n"
        ),
        "no module jax where this is graded: it is a package that is not installed",
    ),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the files get, by name."""
    if not can_fork():
        pytest.skip("grading behind a wall needs Linux")
    folder = tmp_path_factory.mktemp("class")
    put(folder / "in", {name: text for name, (text, _) in (FULL | PART).items()})
    return graded(folder, code=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL)
def test_full_marks(results, name):
    if name == "newer.py" and sys.version_info >= (3, 14):
        pytest.skip("this Python knows it")
    result, said = results[name.partition(".")[0]], FULL[name][1]
    advice = " ".join(each.text for each in result.advice)
    assert result.score == 10, (advice, [c.message for c in result.checks if c.message])
    assert said in advice if said else not advice


def test_defaults_of_a_notebook_do_not_reach_what_the_harness_makes():
    names: dict[str, Any] = {}
    exec(WORK, names)
    stages = [names[name] for name in ("WeightedSum", "Sigmoid", "SquaredError")]
    right = (check(*stages).score, train(*stages).score)
    torch.set_default_device("meta")
    torch.set_default_dtype(torch.float16)
    try:
        assert (check(*stages).score, train(*stages).score) == right
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)


def test_check_takes_apply_for_its_class():
    names: dict[str, Any] = {}
    exec(WORK, names)
    assert check(names["Sigmoid"].apply).score == check(names["Sigmoid"]).score > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", PART)
def test_what_costs_a_stage_is_said_in_words(results, name):
    result, said = results[name.partition(".")[0]], PART[name][1]
    assert result.score == 6
    messages = [check.message for check in result.checks if check.stage == "Sigmoid"]
    assert any(said in message for message in messages), messages
