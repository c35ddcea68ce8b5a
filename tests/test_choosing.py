"""Which of the files that a student handed in is their work, and what may lie beside it."""

from __future__ import annotations

import io
import json
import re
import textwrap
import zipfile

import pytest
from click.testing import CliRunner

from grading.cli import main
from grading.parsing.choosing import Ambiguous, source_of
from grading.parsing.source import File, Unreadable, read_source
from grading.results.record import find_record, read_results
from grading.sandbox import can_fork, open_spawner
from grading.submissions.reading import (
    Entry,
    digest_of,
    find_submissions,
    read_submission,
    sought,
)
from grading.workers.grader import other_work
from harness.course.assignments import load_assignment, use_course
from harness.errors import UserError
from tests.test_remote import SIGMOID as WHOLE_SIGMOID
from tests.test_remote import SQUARED_ERROR, WEIGHTED_SUM
from tests.users import PROJECT

MANY = "many-neurons"
STUB = "        raise NotImplementedError()\n"
HEAD = "import torch\nfrom torch.autograd import Function\n"
FORWARD, SIGMOID = re.split(r"(?<=def backward\(ctx, g\):\n)", WHOLE_SIGMOID)
WORK = HEAD + WEIGHTED_SUM + FORWARD + SIGMOID + SQUARED_ERROR
OTHER = WORK.replace("g * a * (1 - a)", "(1 - a) * g * a")
HANDOUT = HEAD + FORWARD + STUB


def notebook(*cells):
    """A notebook with these cells of code."""
    made = [
        {
            "cell_type": "code",
            "metadata": {},
            "source": text,
            "outputs": [],
            "execution_count": None,
        }
        for text in cells
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 4, "metadata": {}, "cells": made})


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def put(folder, files):
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


def read(folder, files, file=""):
    put(folder / "alice", files)
    entry = Entry("alice", (str(folder / "alice"),), file=file)
    return read_submission(entry, MANY, source_of)


CHOSEN = {
    "the handout's name before another": (
        {"many-neurons.ipynb": notebook(WORK), "many-neurons-Copy1.ipynb": notebook(OTHER)},
        "many-neurons.ipynb",
    ),
    "a worked copy before the handout as it was": (
        {"many-neurons.ipynb": notebook(HANDOUT), "many-neurons-Copy1.ipynb": notebook(WORK)},
        "many-neurons-Copy1.ipynb",
    ),
    "the handout's name of several copies in a folder": (
        dict.fromkeys(("hw/many-neurons (1).ipynb", "hw/many-neurons.ipynb"), notebook(WORK)),
        "hw/many-neurons.ipynb",
    ),
    "one of several copies of the same bytes": ({"a.py": WORK, "b/a.py": WORK}, "a.py"),
    "a notebook before its export": (
        {
            "work.ipynb": notebook("%matplotlib inline\n" + HEAD, WEIGHTED_SUM),
            "work.py": "#!/usr/bin/env python\n# coding: utf-8\n\n# In[1]:\n\n"
            "get_ipython().run_line_magic('matplotlib', 'inline')\n" + HEAD + WEIGHTED_SUM,
        },
        "work.ipynb",
    ),
    "a notebook before an export that is older": (
        {"work.ipynb": notebook(WORK), "work.py": "# In[ ]:\n" + OTHER},
        "work.ipynb",
    ),
    "work among what comes with a repository": (
        {
            "README.md": "x",
            "README.ipynb": notebook("1"),
            "conftest.py": "import pytest",
            "setup.py": "x = 1",
            "tests/test_it.py": WORK + "# tried",
            "hw.ipynb": notebook(WORK),
        },
        "hw.ipynb",
    ),
    "a test of its own name if there is nothing else": ({"test_1.py": WORK}, ""),
    "what has a backward, not what draws": ({"draw.py": "x = 1", "w.py": WORK}, "w.py"),
    "what imports a module, not the module": (
        {
            "w.py": "from layers import Sigmoid\n" + HEAD + WEIGHTED_SUM + SQUARED_ERROR,
            "layers.py": HEAD + FORWARD + SIGMOID,
        },
        "w.py",
    ),
    "what gathers its modules, not one of them": (
        {
            "main.py": "from a import *\nimport b",
            "a.py": HEAD + WEIGHTED_SUM + SQUARED_ERROR,
            "b.py": HEAD + FORWARD + SIGMOID,
        },
        "main.py",
    ),
    "work for this assignment": (
        {
            "a.ipynb": notebook("from harness.one_neuron import check\n" + OTHER),
            "b.ipynb": notebook("from harness.many_neurons import check\n" + WORK),
        },
        "b.ipynb",
    ),
    "what installers left is nothing": (
        {"w.py": WORK, "venv/lib/python3.12/site-packages/p/__init__.py": OTHER},
        "",
    ),
}


@pytest.mark.parametrize("case", CHOSEN)
@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_rules_choose(tmp_path, case, packed):
    files, wanted = CHOSEN[case]
    found = read(tmp_path, {"all.zip": zipped(files)} if packed else files)
    assert found.source is not None, found.reason
    assert found.source.file == wanted


AMBIGUOUS = {
    "two works": {"a.py": WORK, "b.py": OTHER},
    "a module and a notebook of one name": {
        "many-neurons.py": OTHER,
        "many-neurons.ipynb": notebook(WORK),
    },
    "more written in a copy than in the handout": {
        "many-neurons.ipynb": notebook(HANDOUT + SQUARED_ERROR),
        "copy.ipynb": notebook(WORK),
    },
    "work and something that cannot be read": {"a.py": WORK, "b.ipynb": "{}"},
    "work and a zip that cannot be opened": {"a.py": WORK, "b.zip": "{}"},
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_what_stays_ambiguous_is_open_until_a_file_is_named(tmp_path, case):
    files = AMBIGUOUS[case]
    found = read(tmp_path, files)
    assert found.source is None and found.undecided
    assert all(name in found.reason for name in files) and "--file" in found.reason
    for name, data in files.items():
        if data != "{}":
            chosen = read(tmp_path, files, name).source
            assert chosen and chosen.file == name
            assert chosen.cells == read_source(name, data.encode()).cells


def test_a_zip_that_cannot_be_used_costs_nothing_beside_the_handout(tmp_path, monkeypatch):
    work = {"many-neurons.ipynb": notebook(WORK)}
    assert read(tmp_path / "a", work | {"data.zip": b"PK"}).source
    monkeypatch.setattr("grading.submissions.reading.FILE_LIMIT", 2_000)
    assert read(tmp_path / "b", work | {"data.zip": bytes(3_000)}).source
    large = read(tmp_path / "c", work | {"old.ipynb": bytes(3_000)})
    assert large.undecided and "old.ipynb is larger" in large.reason
    assert not read(tmp_path / "d", {"old.ipynb": bytes(3_000)}).undecided


def test_which_works_were_passed_over_is_told(tmp_path):
    files, _ = CHOSEN["the handout's name before another"]
    source = read(tmp_path, files | {"README.md": "x", "tests/test_a.py": "x = 1"}).source
    assert source and source.passed_over == ("many-neurons-Copy1.ipynb",)
    source = read(tmp_path / "b", CHOSEN["one of several copies of the same bytes"][0]).source
    assert source and not source.passed_over


def test_work_for_another_assignment_is_open_and_can_be_graded_all_the_same(tmp_path):
    text = "from harness.one_neuron import check\n" + WORK
    found = read(tmp_path, {"w.py": text})
    assert found.undecided and "looks like one-neuron, handed in as many-neurons" in found.reason
    assert read(tmp_path, {"w.py": text}, "w.py").source
    by_name = read(tmp_path / "b", {"one_neuron.ipynb": notebook(WORK)})
    assert by_name.undecided and "looks like one-neuron" in by_name.reason
    both = text + "\nfrom harness.many_neurons import check\n"
    assert read(tmp_path / "c", {"w.py": both}).source


def test_work_for_another_assignment_of_a_course_is_recognised_too(tmp_path):
    use_course(PROJECT / "examples")
    files = {"w.py": "from attention_assignment import check\n" + WORK}
    put(tmp_path, files)
    entry = Entry("alice", (str(tmp_path / "w.py"),))
    found = {
        name: read_submission(entry, name, source_of)
        for name in (MANY, "relu-network", "attention")
    }
    assert found["attention"].source
    for name in (MANY, "relu-network"):
        assert f"looks like attention, handed in as {name}" in found[name].reason


@pytest.mark.parametrize("name", ["carol.ipynb.txt", "carol.ipynb.json", "carol.IPYNB", "carol.py"])
def test_a_notebook_is_read_whatever_was_added_to_its_name(tmp_path, name):
    put(tmp_path, {name: notebook(WORK), "dora.py.txt": WORK.encode("utf-16")})
    carol, dora = find_submissions(tmp_path)
    assert (carol.name, dora.name) == ("carol", "dora")
    read_carol = read_submission(carol, MANY, source_of).source
    assert read_carol and read_carol.notebook
    assert read_submission(dora, MANY, source_of).source
    module = read(tmp_path, {"w.ipynb": WORK}).source
    assert module and not module.notebook


def test_files_of_other_kinds_are_submissions_with_a_reason(tmp_path):
    put(
        tmp_path,
        {
            "alice.py": WORK,
            "bob.pdf": "%PDF",
            "dave.tar.gz": b"\x1f\x8b",
            "erin.docx": b"PK",
            "frank": WORK,
            "gina/report.pdf": "%PDF",
            "hugo.zip": zipped({"inner.zip": zipped({"a.py": WORK})}),
            "ines.zip": zipped({"work.7z": b"7z"}),
            "jana.zip": zipped({"a\x1b[31m\n.txt": b""}),
            "README.md": "Graded by Friday",
            ".DS_Store": b"x",
        },
    )
    found = {
        entry.name: read_submission(entry, MANY, source_of) for entry in find_submissions(tmp_path)
    }
    said = {name: each.reason for name, each in found.items() if not each.source}
    assert "bob.pdf is not a .py file or a notebook" in said.pop("bob")
    assert "dave.tar.gz is an archive that is not unpacked" in said.pop("dave")
    assert "erin.docx is not a .py file" in said.pop("erin")
    assert "frank has no ending" in said.pop("frank")
    assert "report.pdf is not a .py file" in said.pop("gina")
    assert "inner.zip in hugo.zip is a zip too" in said.pop("hugo")
    assert r"a\x1b[31m\n.txt is not a .py file" in said.pop("jana")
    assert "work.7z is an archive" in said.pop("ines")
    assert not said and not any(each.undecided for each in found.values())


def test_what_only_sets_up_tools_is_never_the_work(tmp_path):
    found = read(tmp_path, {"conftest.py": WORK, "pkg/__init__.py": WORK})
    assert found.source is None and "conftest.py is not work" in found.reason


def test_a_folder_without_anything_to_grade_holds_no_submissions(tmp_path):
    put(tmp_path, {"notes.txt": "x", "picture.png": b"x"})
    assert find_submissions(tmp_path) == []


def test_a_module_and_a_notebook_of_one_student_are_chosen_from_too(tmp_path):
    put(tmp_path, {"alice.py": WORK, "alice.ipynb": notebook(WORK), "alice/old.py": "x = 1"})
    (alice,) = find_submissions(tmp_path)
    source = read_submission(alice, MANY, source_of).source
    assert source and source.notebook


class TestModulesBeside:
    def modules(self, tmp_path, files, file=""):
        source = read(tmp_path, files, file).source
        assert source
        return {cell.name: cell.text for cell in source.modules}

    def test_are_those_that_are_imported_from_nearby(self, tmp_path):
        files = {
            "hw/w.py": "import torch, helpers as h\nfrom layers.linear import f\n" + WORK,
            "hw/helpers.py": "from deep import slope",
            "helpers.py": "far = 1",
            "src/deep.py": "slope = 2",
            "hw/layers/linear.py": "f = 3",
            "hw/unused.py": "x = 1",
            "hw/torch.py": "mine = 1",
        }
        files["hw/w.py"] += "from . import beside, near\n"
        files |= {"hw/beside.py": "x = 4", "hw/near.py": "x = 5"}
        assert self.modules(tmp_path, files) == {
            "beside.py": "x = 4",
            "near.py": "x = 5",
            "helpers.py": "from deep import slope",
            "deep.py": "slope = 2",
            "layers/linear.py": "f = 3",
            "torch.py": "mine = 1",
        }

    def test_come_out_of_a_zip_and_stay_within_limits(self, tmp_path):
        files = {"w.py": "import helpers\n" + WORK, "helpers.py": "x = 1"}
        found = self.modules(tmp_path, {"hw.zip": zipped(files)})
        assert found == {"helpers.py": "x = 1"}
        bomb = {"w.py": "import a, b\n" + WORK} | dict.fromkeys(("a.py", "b.py"), "#" * (3 * 2**20))
        with pytest.raises(Unreadable, match="MiB of code"):
            source_of_zip(zipped(bomb))


def test_a_link_is_never_read_in_the_place_of_a_file_of_the_same_path():
    buffer, link = io.BytesIO(), zipfile.ZipInfo("a.py")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "elsewhere.py")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.py", WORK)
    assert source_of_zip(buffer.getvalue()).cells[0].text == WORK


def source_of_zip(data):
    from grading.parsing.source import File

    return source_of([File("a.zip", data)])


HELPED = WORK.replace("import torch\n", "import torch\nfrom helpers import slope\n", 1).replace(
    "return g * a * (1 - a)", "return g * slope(a)"
)


def graded(tmp_path, *more, code=None):
    """The results of grading the folder ``in``, by name."""
    call = ["grade", str(tmp_path / "in"), "--assignment", MANY, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*call, "--workers", "1", "--seed", "3", *more])
    assert code is None or done.exit_code == code, done.output
    return {result.submission: result for result in read_results(tmp_path / "out")}


@pytest.mark.slow
@pytest.mark.skipif(not can_fork(), reason="grading behind a wall needs Linux")
class TestGrading:
    def test_classes_are_found_in_the_modules_that_are_imported(self, tmp_path):
        put(tmp_path / "in" / "alice", CHOSEN["what gathers its modules, not one of them"][0])
        package = {
            "w.py": "from . import near\nfrom .layers import slope\n"
            + HELPED.replace("from helpers import slope\n", ""),
            "near.py": "import not_there\nx = 1\n",
            "layers/__init__.py": "from .deep import slope\nfrom . import deep",
            "layers/deep.py": "from __future__ import annotations\n"
            "def slope(a: Missing):\n    return a * (1 - a)\n",
        }
        put(tmp_path / "in" / "bob", package)
        found = graded(tmp_path, code=0)
        assert (found["alice"].score, found["bob"].score) == (10, 10)
        assert not found["bob"].advice

    def test_a_module_beside_is_imported_and_never_hides_an_installed_one(self, tmp_path):
        broken = "raise RuntimeError('the wrong module')\n"
        put(
            tmp_path / "in" / "alice",
            {"w.py": HELPED, "helpers.py": "def slope(a):\n    return a * (1 - a)\n"}
            | {f"{name}.py": broken for name in ("torch", "numpy", "harness", "json", "math")},
        )
        put(
            tmp_path / "in" / "bob",
            {
                "w.ipynb": notebook("import json, math, numpy, harness\n" + HELPED),
                "helpers.py": "import torch\ndef slope(a):\n    return a / 'a'\n",
            },
        )
        delegates = (
            "import torch\ndef slope(a):\n    z = torch.logit(a).requires_grad_()\n"
            "    with torch.enable_grad():\n"
            "        return torch.autograd.grad(torch.sigmoid(z).sum(), z)[0]\n"
        )
        put(tmp_path / "in" / "carol", {"w.py": HELPED, "helpers.py": delegates})
        found = graded(tmp_path, code=0)
        assert (found["alice"].score, found["alice"].advice) == (10, [])
        said = next(c.message for c in found["bob"].checks if c.id == "sigmoid/gradient/z")
        assert "helpers.py, line 3" in said
        (flag,) = found["carol"].flags
        assert "torch.autograd.grad" in flag.evidence and "helpers.py, line 5" in flag.evidence

    @pytest.mark.proof
    def test_a_choice_is_kept_and_its_line_can_be_replayed(self, tmp_path):
        wrong = WORK.replace("g * a * (1 - a)", "g * a")
        put(tmp_path / "in", {"alice/a.py": WORK, "alice/b.py": wrong, "bob.py": WORK})
        found = graded(tmp_path, code=1)
        assert (found["alice"].status, found["alice"].score) == ("undecided", None)
        digest = digest_of(find_submissions(tmp_path / "in")[0], MANY)
        scores = {}
        for name in ("a.py", "b.py"):
            alice = graded(tmp_path, "--only", "alice", "--file", name, code=0)["alice"]
            assert (alice.file, alice.digest) == (name, digest)
            scores[name] = alice.score
            # Without the option, the choice stays, and nothing is graded again.
            assert graded(tmp_path, code=0)["alice"] == alice
        assert scores["a.py"] == 10 > scores["b.py"]
        from grading.replay.checks import replay_checks

        record = find_record(tmp_path / "out", "alice", tmp_path / "in", [])
        with open_spawner() as spawner:
            assert all(each.same for each in replay_checks(record, spawner))
        assert graded(tmp_path, "--fresh", code=1)["alice"].status == "undecided"


class TestCheck:
    def check(self, *call):
        done = CliRunner().invoke(main, ["check", *map(str, call)])
        return done.exit_code, done.output

    def test_file_decides_and_an_unknown_one_is_refused(self, tmp_path):
        folder = put(tmp_path / MANY, {"a.py": WORK, "b.py": HANDOUT + SQUARED_ERROR})
        call = (folder, "--assignment", MANY)
        code, said = self.check(*call)
        assert code == 2 and "2 files where one is expected" in said and "--file" in said
        code, said = self.check(*call, "--file", "c.py")
        assert code == 2

    @pytest.mark.slow
    def test_modules_beside_the_file_are_imported(self, tmp_path):
        put(tmp_path, {"many-neurons.py": HELPED, "helpers.py": "def slope(a): return a * (1 - a)"})
        code, said = self.check(tmp_path / "many-neurons.py")
        assert code == 0, said

    def test_work_for_another_assignment_is_told(self, tmp_path):
        put(tmp_path, {"w.py": textwrap.dedent("from harness.one_neuron import check\n") + WORK})
        code, said = self.check(tmp_path / "w.py", "--assignment", MANY)
        assert code == 2 and "looks like one-neuron" in said


def test_work_that_defines_another_assignment_whole_is_for_that_one():
    use_course(PROJECT / "examples")
    layers = load_assignment("convolution-layers")
    assert other_work(read_source("hw.py", WORK.encode()), layers) in ("one-neuron", MANY)
    own = WORK + "\nclass Conv2d(Function):\n    pass\n"
    assert other_work(read_source("hw.py", own.encode()), layers) == ""
    part = HEAD + WEIGHTED_SUM + FORWARD + SIGMOID
    assert other_work(read_source("hw.py", part.encode()), layers) == ""


def test_a_file_that_was_chosen_and_is_not_there_is_told(tmp_path):
    files = [File("a.py", WORK.encode()), File("b.py", OTHER.encode())]
    with pytest.raises(Ambiguous, match=r"holds no file called c\.py: its files are a\.py, b\.py"):
        source_of(files, sought(MANY, "c.py"))


@pytest.mark.parametrize("option", ["-a", "--append"])
@pytest.mark.parametrize("name", ["own.py", "'own.py'", '"own.py"'])
def test_a_module_that_a_notebook_writes_in_pieces_is_whole(name, option):
    cells = (f"%%writefile {name}\na = 1", f"%%writefile {option} {name}\nb = 2", "import own")
    source = source_of([File("w.ipynb", notebook(*cells).encode())], sought(MANY))
    assert [cell.text.split() for cell in source.modules] == [["a", "=", "1", "b", "=", "2"]]


def test_an_unknown_file_for_check_is_named(tmp_path):
    from grading.selfcheck.work import read_work

    folder = put(tmp_path / MANY, {"many-neurons.py": WORK, "notes.py": "x = 1"})
    assert read_work(folder, MANY).source.file == "many-neurons.py"
    with pytest.raises(UserError, match=r"holds no file called c\.py"):
        read_work(folder, MANY, "c.py")
