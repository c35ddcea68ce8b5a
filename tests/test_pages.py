"""Pages show what is on record, to each reader what is theirs, and text as text."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.mix import make_mix
from grading.pages import folder, page_name, staff, student_page
from grading.pages.folder import CHUNK, make_report
from grading.pages.names import page_address
from grading.pages.packs import unpacked
from grading.pages.staff import staff_page
from grading.results.lines import Given, Overridden
from harness.candidate.workbench import Workbench
from harness.course.assignments import load_assignment
from harness.course.report import Advice, Flag
from harness.course.settings import FEEDBACK_LEVELS, Settings
from harness.errors import UserError
from harness.judging.judge import judge
from tests.published import (
    ATTACK,
    FLAG,
    RIGHT,
    SECRET,
    check_line,
    pages_of,
    published,
    report_on,
    result_of,
    wrong_line,
)

ROOT = Path(__file__).resolve().parent.parent
NAMES = (
    "alice", "Alice", "ALICE", "alice.", "alice ", " alice", "ali/ce", "../alice", "..", ".", "",
    "con", "CON", "con.html", "nul", "com1", "-x", "a\nb", 'a"b', "a'b", "<b>", "a?b#c", "100%",
    "é", "e\u0301", "e", "张伟", "\u202ealice", "alice\u200f", "\ud800", "x" * 60, "x" * 61,
    "x" * 5000, "X" * 5000,
)  # fmt: skip


def test_a_plain_name_stays_as_it_is():
    assert page_name("alice-2_b") == "alice-2_b.html"


def test_no_two_names_share_a_file():
    assert len({page_name(name).casefold() for name in NAMES}) == len(NAMES)


@given(st.text(st.characters()) | st.sampled_from(NAMES))
def test_every_name_gives_a_file_name_that_is_safe_everywhere(name):
    file = page_name(name)
    assert re.fullmatch(r"[a-z0-9_][a-z0-9_.-]*\.html", file) and len(file) < 100
    assert not re.match(r"(con|prn|aux|nul|com\d|lpt\d)\.", file)
    assert page_name(name) == file


@given(st.text(), st.text())
def test_different_names_give_different_files(one, other):
    assert (page_name(one) == page_name(other)) == (one == other)


@pytest.mark.parametrize("name", ["alice.0123456789abcdef", page_name("Alice")[:-5]])
def test_a_name_that_looks_like_another_ones_file_gets_its_own(name):
    assert page_name(name) != f"{name}.html"


def judged(code):
    names = {"__name__": "submission"}
    with suppress(SyntaxError):
        exec(code, names)
    return judge(load_assignment("many-neurons"), Workbench(names)).report


def pack(submission):
    return f"report/pages/{page_address(submission).partition('/')[0]}.js"


def everything(out):
    return {
        path.relative_to(out).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted((out / "report").rglob("*.*"))
        if path.suffix in (".html", ".js")
    }


@pytest.mark.parametrize("feedback", FEEDBACK_LEVELS)
def test_a_students_page_shows_what_the_level_allows_and_nothing_for_staff(feedback):
    result = result_of("alice", RIGHT, wrong_line(), flags=[FLAG])
    page = student_page(result, Settings(feedback=feedback))
    assert "alice" in page and "1 of 2 points" in page
    for held_back in (SECRET, "77001", "d1ge57", "delegates-to-autograd", "0.123456"):
        assert held_back not in page
    assert "1 − <i>a</i>" not in page


def test_the_formula_stands_as_mathematics_on_both_pages(tmp_path):
    result = result_of("alice", RIGHT, wrong_line())
    formula = "<i>g</i> ⊙ <i>z</i></span>"
    assert formula in student_page(result, Settings())
    staff = staff_page(result, tmp_path)
    assert formula in staff and SECRET in staff and "seed = 77001" in staff
    assert "1 − <i>a</i>" in staff


@settings(max_examples=30)
@given(
    st.lists(st.sampled_from([ATTACK, "&amp;", "'\"", "\u202e", "</style>", "]]>", "{{ 7 * 7 }}"]))
)
def test_text_of_students_is_never_markup(parts):
    text = ATTACK + "".join(parts)
    result = result_of(
        text,
        wrong_line(text),
        check_line("sigmoid/purity", "Sigmoid", "error", message=text, title=text),
        reason=text,
        advice=[Advice("Sigmoid", text)],
        flags=[Flag("delegates-to-autograd", "Sigmoid", text)],
    )
    for page in (student_page(result, Settings()), staff_page(result, Path("marks"))):
        assert "<script" not in page and "<img" not in page and "\u202e" not in page
        assert page.count("</style>") == page.count("<style>")
        assert "{{ 7 * 7 }}" in page or "{{ 7 * 7 }}" not in text


def test_who_has_no_usable_code_or_no_mark_reads_why():
    unreadable = result_of("a", status="unreadable", reason="It is empty.", score=0.0)
    assert "It is empty." in student_page(unreadable, Settings())
    failed = result_of("b", status="grader_error", reason="Try later.", staff=SECRET, score=None)
    page = student_page(failed, Settings())
    assert "still open" in page and "0 of" not in page and SECRET not in page


def test_staff_see_whose_it_is_and_how_late(tmp_path):
    known = {"students": ["a", "b"], "time": "2026-03-09", "late": "1:30:00"}
    page = staff_page(result_of("alice", RIGHT, **known), tmp_path)
    assert "Of a, b · handed in 2026-03-09 · late by 1:30:00" in page
    assert "· handed in" not in staff_page(result_of("alice", RIGHT), tmp_path)


def test_a_mark_that_an_instructor_gave_is_shown_and_its_reason_is_for_staff(tmp_path):
    given_ = Overridden(1.5, Given(1.5, "Said it in class."))
    result = result_of("alice", RIGHT, wrong_line(), override=given_)
    page = student_page(result, Settings())
    assert "gave 1.5 of 2 points" in page and "Said it in class." not in page
    assert "Said it in class." in staff_page(result, tmp_path)


def test_pages_that_a_class_may_see_do_not_tell_the_seed(tmp_path):
    published(tmp_path, [result_of("alice", RIGHT, wrong_line())])
    run = tmp_path / "run.json"
    run.write_text(re.sub(r'"seed": *0', '"seed": 8922843687356885', run.read_text()))
    report_on(tmp_path)
    seeds = ("8922843687356885", "77001")  # the run's, and that of a check's case
    index = (tmp_path / "report" / "index.html").read_text()
    pages = [index, pages_of(tmp_path, "alice").student]
    assert seeds[0] in run.read_text() and seeds[1] in pages_of(tmp_path, "alice").staff
    assert [page for page in pages if any(seed in page for seed in seeds)] == []


def test_a_report_that_is_right_is_left_alone_and_a_change_changes_its_pages_only(tmp_path):
    results = [result_of("alice", RIGHT, wrong_line()), result_of("bob", RIGHT)]
    published(tmp_path, results)
    report_on(tmp_path)
    before = everything(tmp_path)
    report_on(tmp_path)
    assert everything(tmp_path) == before
    published(tmp_path, [results[0], result_of("bob", wrong_line())])
    report_on(tmp_path)
    after = everything(tmp_path)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"report/index.html", "report/page.html", pack("bob")}
    assert SECRET in pages_of(tmp_path, "bob").staff


def test_a_change_makes_no_page_again_that_shares_its_pack(tmp_path, monkeypatch):
    names = [f"s{number}" for number in range(CHUNK)]
    published(tmp_path, [result_of(name, RIGHT) for name in names])
    monkeypatch.setattr(folder, "page_address", lambda name: f"00/{name}")
    report_on(tmp_path)
    made = []

    def page(result, _out):
        made.append(result.submission)
        return "new"

    monkeypatch.setattr(staff, "staff_page", page)
    results = [result_of(name, RIGHT) for name in names if name != "s7"]
    published(tmp_path, [*results, result_of("s7", wrong_line())])
    report_on(tmp_path)
    kept = unpacked(tmp_path / "report" / "pages" / "00.js")
    assert made == ["s7"] and kept["s7"].staff == "new"
    assert kept.keys() == set(names) and "WeightedSum" in kept["s8"].staff


@pytest.mark.proof
def test_the_report_on_ten_thousand_stays_below_a_hundred_megabytes(tmp_path):
    """A thousand take a tenth: sizes grow in proportion, or less."""
    reports = [judged(each.code) for each in make_mix(40)]
    results = [
        result_of(f"student-{number}", *reports[number % len(reports)].checks)
        for number in range(1000)
    ]
    published(tmp_path, results)
    report_on(tmp_path)
    files = [each.stat() for each in (tmp_path / "report").rglob("*") if each.is_file()]
    assert sum(-(-each.st_size // 4096) * 4096 for each in files) < 10_000_000
    assert len(files) < 300


@pytest.mark.parametrize("name", ["show/report.css", "expressions/table.toml", "show/marks.py"])
def test_a_checkout_with_other_code_or_data_makes_every_page_again(tmp_path, monkeypatch, name):
    source, out = tmp_path / "source", tmp_path / "out"
    for package in ("grading/pages", "harness"):
        shutil.copytree(ROOT / package, source / package)
    monkeypatch.setattr(folder, "__file__", str(source / "grading/pages/folder.py"))
    out.mkdir()
    published(out, [result_of("alice", RIGHT)])
    report_on(out)
    before = everything(out)
    with (source / "harness" / name).open("a") as file:
        file.write("\n")
    report_on(out)
    after = everything(out)
    assert [each for each in before if after[each] == before[each]] == []


def test_pages_of_who_is_gone_go_and_what_others_put_there_stays(tmp_path):
    published(tmp_path, [result_of("alice", RIGHT), result_of("bob", RIGHT)])
    report_on(tmp_path)
    mine = tmp_path / "report" / "pages" / "notes.html"
    mine.write_text("mine")
    published(tmp_path, [result_of("alice", RIGHT)])
    report_on(tmp_path)
    assert set(everything(tmp_path)) == {
        "report/index.html",
        "report/page.html",
        "report/pages/notes.html",
        pack("alice"),
    }
    assert mine.read_text() == "mine"


def test_a_pack_keeps_the_others_when_one_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "page_address", lambda name: f"00/{name}")
    published(tmp_path, [result_of("alice", RIGHT), result_of("bob", RIGHT)])
    report_on(tmp_path)
    published(tmp_path, [result_of("alice", RIGHT)])
    report_on(tmp_path)
    assert unpacked(tmp_path / "report" / "pages" / "00.js").keys() == {"alice"}


def test_pages_of_earlier_versions_go_and_what_others_put_there_stays(tmp_path):
    published(tmp_path, [result_of("alice", RIGHT)])
    report = tmp_path / "report"
    for part in ("students", "staff"):
        (report / part).mkdir(parents=True)
        (report / part / "alice.html").write_text("old")
    (report / "staff" / "notes.html").write_text("mine")
    (report / ".pages.json").write_text('{"index": "1", "pages": {"alice.html": "2"}}')
    report_on(tmp_path)
    assert set(everything(tmp_path)) == {
        "report/index.html",
        "report/page.html",
        "report/staff/notes.html",
        pack("alice"),
    }
    assert not (report / "students").exists()


@pytest.mark.parametrize("name", ["index.html", "page.html", "pages"])
def test_what_was_deleted_is_made_again(tmp_path, name):
    published(tmp_path, [result_of("alice", RIGHT)])
    report_on(tmp_path)
    before = {each: data for each, (data, _) in everything(tmp_path).items()}
    path = tmp_path / "report" / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    report_on(tmp_path)
    assert {each: data for each, (data, _) in everything(tmp_path).items()} == before


def test_pages_in_a_damaged_pack_are_made_again_with_the_one_that_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "page_address", lambda name: f"00/{name}")
    published(tmp_path, [result_of("alice", RIGHT), result_of("bob", RIGHT)])
    report_on(tmp_path)
    pack = tmp_path / "report" / "pages" / "00.js"
    whole = unpacked(pack)
    for damaged in (b"", pack.read_bytes()[:-9], b'pack("00","AAAA");\n', b'pack("00","A");\n'):
        pack.write_bytes(damaged)
        assert unpacked(pack) == {}
    published(tmp_path, [result_of("alice", RIGHT), result_of("bob", wrong_line())])
    report_on(tmp_path)
    assert unpacked(pack)["alice"] == whole["alice"]


class StopsAfterOneTask(ThreadPoolExecutor):
    """Stands for a run that is stopped while it makes pages."""

    def submit(self, task, /, *arguments, **named):
        if self._threads:
            raise KeyboardInterrupt
        return super().submit(task, *arguments, **named)


def test_a_stop_leaves_whole_pages_and_the_next_run_mends_the_report(tmp_path):
    names = [f"s{number:02}" for number in range(2 * CHUNK)]
    published(tmp_path, [result_of(name, RIGHT) for name in names])
    report_on(tmp_path)
    before = everything(tmp_path)
    published(tmp_path, [result_of(name, wrong_line()) for name in names])
    with pytest.raises(KeyboardInterrupt):
        make_report(tmp_path, lambda _wanted: StopsAfterOneTask(1))
    stopped = everything(tmp_path)
    assert stopped.keys() == before.keys()
    assert stopped["report/index.html"] == before["report/index.html"]
    packs = [name for name in before if "/pages/" in name]
    assert all(unpacked(tmp_path / name) for name in packs)
    assert 0 < sum(stopped[name] != before[name] for name in packs) < len(packs)
    report_on(tmp_path)
    after = everything(tmp_path)
    assert all(after[name][0] != before[name][0] for name in packs)
    assert all(SECRET in pages_of(tmp_path, name).staff for name in names)


def test_a_report_that_cannot_be_written_is_one_sentence(tmp_path):
    published(tmp_path, [result_of("alice", RIGHT)])
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(UserError, match="the marks are safe, and `backprop report"):
        report_on(tmp_path)
