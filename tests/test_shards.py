"""A class graded in shards, and merged: as one run would have graded it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from grading.cli import main
from grading.results.lines import LINES, RUN, encode_result, publish
from grading.results.record import read_results
from grading.runs.journal import FILE as JOURNAL
from grading.runs.journal import only_run_in
from grading.runs.merge import merge
from grading.runs.overrides import override
from grading.runs.run import Options, grade_folder
from grading.runs.shards import Shard
from harness.course.settings import Settings
from harness.errors import UserError
from tests.published import RIGHT, result_of
from tests.test_cli import WRONG, backprop
from tests.test_remote import RIGHT as RIGHT_CODE
from tests.test_resume import FakeGrader, in_place, submit

NAMES = ["ada", "ben", "cleo", "dora", "emil", "fay"]


class TestShard:
    @given(st.text(), st.integers(1, 50))
    def test_every_submission_is_in_one(self, name, of):
        assert sum(Shard(number, of).holds(name) for number in range(1, of + 1)) == 1

    def test_they_are_of_about_the_same_size(self):
        sizes = [sum(Shard(k, 4).holds(f"student{n}") for n in range(4000)) for k in (1, 2, 3, 4)]
        assert min(sizes) > 900

    @pytest.mark.parametrize("text", ["", "0/3", "4/3", "1/0", "1", "a/b", "1/2/3", "-1/3"])
    def test_what_is_none_is_refused(self, text):
        asked = ["grade", ".", "--assignment", "one-neuron", "--out", "x", f"--shard={text}"]
        run = CliRunner().invoke(main, asked)
        assert run.exit_code == 2 and f"{text!r} is not part K of N parts" in run.output


def graded(folder, number, of=2, names=NAMES, **facts):
    """Results of a shard as a run would have published them."""
    folder = folder / str(number)
    folder.mkdir(parents=True)
    held = [name for name in names if Shard(number, of).holds(name) or names is not NAMES]
    run = {
        "schema": 1,
        "assignment": "many-neurons",
        "seed": 7,
        "settings": Settings().as_dict(),
        "isolation": "full",
        "versions": {"torch": "2"},
        "shard": f"{number}/{of}",
        "submissions": len(held),
        "listing": "a",
        **facts,
    }
    publish(folder, [result_of(name, RIGHT) for name in held], run)
    (folder / JOURNAL).write_bytes(b"")
    return folder


class TestMerge:
    def test_the_class_is_whole_and_in_order(self, tmp_path):
        parts = [graded(tmp_path, number, 3) for number in (3, 1, 2)]
        merge(parts, tmp_path / "all")
        assert [each.submission for each in read_results(tmp_path / "all")] == NAMES
        run = json.loads((tmp_path / "all" / RUN).read_text())
        assert run["seed"] == 7 and "shard" not in run
        assert (run["submissions"], run["listing"]) == (6, "a")

    def test_a_line_that_is_lost_is_noticed(self, tmp_path):
        parts = [graded(tmp_path, 1), graded(tmp_path, 2)]
        lines = (parts[0] / LINES).read_bytes().splitlines(keepends=True)
        (parts[0] / LINES).write_bytes(b"".join(lines[:-1]))
        with pytest.raises(UserError, match=r"1 has results of 3 of its 4 submissions: run"):
            merge(parts, tmp_path / "all")
        assert not (tmp_path / "all").exists()

    def test_what_an_earlier_version_graded_is_merged_and_not_called_whole(self, tmp_path, capsys):
        parts = [graded(tmp_path, 1), graded(tmp_path, 2)]
        facts = json.loads((parts[0] / RUN).read_text())
        del facts["submissions"], facts["listing"]
        (parts[0] / RUN).write_text(json.dumps(facts))
        merge(parts, tmp_path / "all")
        said = capsys.readouterr().err
        assert f"{parts[0]} does not say how many submissions" in said and str(parts[1]) not in said
        run = json.loads((tmp_path / "all" / RUN).read_text())
        assert "submissions" not in run and "listing" not in run

    def test_the_weakest_isolation_is_on_record(self, tmp_path):
        parts = [
            graded(tmp_path, 1),
            graded(tmp_path, 2, isolation="partial", as_root=True),
        ]
        merge(parts, tmp_path / "all")
        run = json.loads((tmp_path / "all" / RUN).read_text())
        assert (run["isolation"], run["as_root"]) == ("partial", True)

    def test_overrides_come_along_and_those_of_the_whole_class_win(self, tmp_path):
        parts = [graded(tmp_path, 1), graded(tmp_path, 2)]
        first, second = (read_results(part)[0].submission for part in parts)
        override(parts[0], first, None, 1.5, "half")
        override(parts[1], second, None, 1.5, "half")
        merge(parts, tmp_path / "all")
        override(tmp_path / "all", second, None, 2, "full")
        merge(parts, tmp_path / "all")
        marks = {each.submission: each.mark for each in read_results(tmp_path / "all")}
        assert (marks[first], marks[second]) == (1.5, 2)

    @pytest.mark.parametrize(
        ("facts", "said"),
        [
            ({"seed": 8}, r"another way .*seed: 7 → 8.*same --seed"),
            ({"versions": {"torch": "3"}}, r"another way .*versions.torch: 2 → 3"),
            ({"assignment": "one-neuron"}, r"another way .*assignment: many-neurons → one-neuron"),
            ({"shard": "2/3"}, r"shard 1/2 and .* shard 2/3"),
            ({"shard": "1/2"}, r"both hold shard 1/2"),
            ({"shard": "x"}, r"whole class"),
            ({"listing": "b"}, r"2 is a shard of other submissions than .*1: the class"),
            ({"submissions": 4}, r"2 has results of 2 of its 4 submissions: .* shard 2/2 again"),
            ({"names": [*NAMES]}, r"both have a submission called"),
        ],
    )
    def test_what_does_not_belong_together_is_refused_and_nothing_written(
        self, tmp_path, facts, said
    ):
        parts = [graded(tmp_path, 1), graded(tmp_path, 2, **facts)]
        with pytest.raises(UserError, match=said):
            merge(parts, tmp_path / "all")
        assert not (tmp_path / "all").exists()

    def test_a_missing_shard_is_named(self, tmp_path):
        parts = [graded(tmp_path, number, 4) for number in (1, 3)]
        with pytest.raises(UserError, match=r"missing: 2/4, 4/4"):
            merge(parts, tmp_path / "all")

    @pytest.mark.parametrize("first", [False, True])
    def test_a_shard_that_is_being_graded_is_waited_for(self, tmp_path, first):
        parts = [graded(tmp_path, 1), graded(tmp_path, 2)]
        if first:
            (parts[1] / RUN).unlink()
        with only_run_in(parts[1]), pytest.raises(UserError, match="Another run is writing"):
            merge(parts, tmp_path / "all")

    def test_one_whose_grading_was_interrupted_is_to_be_graded_to_the_end(self, tmp_path):
        parts = [graded(tmp_path, 1), graded(tmp_path, 2)]
        (parts[1] / RUN).unlink()
        with pytest.raises(UserError, match=r"2 is not graded to the end: run the same"):
            merge(parts, tmp_path / "all")

    def test_one_that_is_given_twice_is_named(self, tmp_path):
        parts = [graded(tmp_path, 1), graded(tmp_path, 2)]
        with pytest.raises(UserError, match=r"1 is given twice"):
            merge([*parts, tmp_path / "2/../1"], tmp_path / "all")

    def test_results_are_not_put_among_submissions(self, tmp_path):
        parts = [graded(tmp_path, 1), graded(tmp_path, 2)]
        submit(tmp_path / "in", ada="1")
        before = sorted((tmp_path / "in").iterdir())
        with pytest.raises(UserError, match="in holds other files and no results"):
            merge(parts, tmp_path / "in")
        assert sorted((tmp_path / "in").iterdir()) == before

    def test_a_shard_is_not_overwritten(self, tmp_path):
        parts = [graded(tmp_path, 1), graded(tmp_path, 2)]
        before = (parts[0] / RUN).read_bytes()
        with pytest.raises(UserError, match="is one of the shards"):
            merge(parts, parts[0])
        assert (parts[0] / RUN).read_bytes() == before


class TestRuns:
    @pytest.fixture(autouse=True)
    def _class(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        in_place(monkeypatch, FakeGrader())
        submit(tmp_path / "in", **dict.fromkeys(NAMES, "1"))

    def grade(self, number, out=None, **options):
        shard = Shard(number, 2) if number else None
        asked = Options(shard=shard, seed=7, **options)
        grade_folder(Path("in"), "many-neurons", Path(out or str(number)), asked)

    def test_all_of_one_class_are_merged(self):
        self.grade(1)
        self.grade(2)
        merge([Path("1"), Path("2")], Path("all"))
        self.grade(0, "whole")
        assert Path("all", RUN).read_bytes() == Path("whole", RUN).read_bytes()

    @pytest.mark.parametrize(("first", "then"), [(1, 2), (1, 0), (0, 1)])
    def test_results_of_others_are_not_replaced(self, first, then):
        self.grade(first, "out")
        before = Path("out", RUN).read_bytes()
        held = f"shard {first}/2" if first else "a whole class"
        with pytest.raises(UserError, match=f"out holds the results of {held}: give"):
            self.grade(then, "out")
        assert Path("out", RUN).read_bytes() == before
        self.grade(first, "out")

    def test_of_a_class_that_has_changed_in_between_they_are_refused(self):
        self.grade(1)
        submit(Path("in"), zoe="1")
        self.grade(2)
        with pytest.raises(UserError, match="2 is a shard of other submissions than 1"):
            merge([Path("1"), Path("2")], Path("all"))

    def test_one_of_which_only_a_part_is_graded_is_refused(self):
        self.grade(1, only=["ada"])
        self.grade(2)
        with pytest.raises(UserError, match=r"1 has results of 1 of its 4 .* without --only"):
            merge([Path("1"), Path("2")], Path("all"))


@pytest.mark.proof
def test_shards_are_graded_as_the_class_is_and_merged_need_no_grading(tmp_path):
    class_ = tmp_path / "class"
    class_.mkdir()
    for name in NAMES[:3]:
        (class_ / f"{name}.py").write_text("".join(RIGHT_CODE) if name < "b" else WRONG)
    asked = "grade", class_, "--assignment", "many-neurons"
    parts = [tmp_path / "shards" / str(number) for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        run = backprop(*asked, "--shard", f"{number}/2", "--out", part, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
    run = backprop("merge", *parts, "--out", "all", cwd=tmp_path)
    assert run.returncode == 0 and "3 submissions" in run.stdout, run.stderr
    shards, whole = read_results(tmp_path / "all"), tmp_path / "whole"
    facts = json.loads((tmp_path / "all" / RUN).read_text())
    run = backprop(*asked, "--seed", facts["seed"], "--out", whole, cwd=tmp_path)
    assert json.loads((whole / RUN).read_text()) == facts and facts["submissions"] == 3
    assert _untimed(shards) == _untimed(read_results(whole)), run.stderr
    again = backprop(*asked, "--out", "all", cwd=tmp_path)
    assert "0 graded, 3 unchanged" in again.stdout, again.stderr
    assert (tmp_path / "all/report/index.html").is_file()


def _untimed(results):
    return [encode_result(msgspec.structs.replace(each, seconds=None)) for each in results]
