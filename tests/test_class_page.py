"""The class page, as a person uses it, in a real browser without a network."""

from __future__ import annotations

import pytest

from grading.pages import student_page
from grading.pages.names import page_address
from harness.course.settings import Settings
from tests.published import (
    ATTACK,
    FLAG,
    RIGHT,
    SECRET,
    check_line,
    published,
    report_on,
    result_of,
    wrong_line,
)

pytest.importorskip("selenium")

from selenium.webdriver.support.ui import WebDriverWait

from screenshots.browser import resize

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    ordinary = [result_of(f"student-{at:04}", RIGHT, RIGHT) for at in range(600)]
    wrong = [result_of(f"wrong-{at}", RIGHT, wrong_line()) for at in range(3)]
    hostile = result_of(ATTACK, RIGHT, wrong_line(ATTACK), flags=[FLAG])
    empty = result_of("empty", status="unreadable", reason=ATTACK, score=0.0)
    also = check_line("weighted-sum/gradient/w", "WeightedSum", "failed")
    two = result_of("two", also, wrong_line())
    published(folder, [*ordinary, *wrong, hostile, empty, two])
    return report_on(folder).as_uri()


@pytest.fixture
def page(chrome, address):
    chrome.get("about:blank")
    chrome.get(address)
    return chrome


def names(page):
    return [each.text for each in page.find_elements("css selector", "#rows tbody .person")]


def shown(page):
    """The page of a submission, once it is there: packs take a moment to open."""
    WebDriverWait(page, 20).until(lambda _: page.find_elements("css selector", "#page h1"))
    return page.find_element("id", "page")


def test_text_of_students_does_not_act(page):
    page.find_element("id", "q").send_keys("script")
    assert names(page) == [ATTACK]
    assert page.title != "owned"
    page.find_element("css selector", "#rows tbody .person").click()
    assert shown(page).find_element("tag name", "h1").text == ATTACK
    assert page.title != "owned"


def test_a_number_leads_to_the_submissions_behind_it_and_back(page):
    (link,) = page.find_elements("css selector", "a[href*='mistake=']")
    assert link.text == "5"
    link.click()
    assert sorted(names(page)) == [ATTACK, "two", "wrong-0", "wrong-1", "wrong-2"]
    page.back()
    assert "606 submissions" in page.find_element("id", "found").text


def test_rows_can_be_sorted_and_searched(page):
    page.find_element("css selector", "[data-sort=score]").click()
    assert names(page)[0].startswith("student-")
    page.find_element("css selector", "[data-sort=score]").click()
    assert not names(page)[0].startswith("student-")
    assert page.find_element("css selector", "th[aria-sort=ascending]").text.startswith("mark")
    page.find_element("id", "q").send_keys("0599")
    assert names(page) == ["student-0599"]


def test_the_first_problem_to_fix_is_shown_with_its_own_mistake(page):
    for name, problem in (("two", "WeightedSum ∂C/∂w"), ("wrong-2", "Sigmoid ∂C/∂z (z-for-slope)")):
        page.find_element("id", "q").clear()
        page.find_element("id", "q").send_keys(name)
        assert page.find_element("css selector", "#rows tbody .problem").text == problem


def test_all_rows_can_be_shown(page):
    assert len(names(page)) < 606
    page.find_element("id", "all-rows").click()
    WebDriverWait(page, 60).until(lambda _: len(names(page)) == 606)
    assert not page.find_element("id", "more").is_displayed()


def test_a_students_page_opens_from_its_row(page):
    page.find_element("id", "q").send_keys("wrong-1")
    page.find_element("css selector", "#rows tbody .for-student a").click()
    words = shown(page).text
    assert "1 of 2 points" in words and "behaves like g ⊙ z" in words and SECRET not in words
    assert page.title.startswith("wrong-1 ·")


def test_the_pages_of_a_submission_and_of_the_class_lead_to_each_other(page):
    page.find_element("id", "q").send_keys("wrong-1")
    page.find_element("css selector", "#rows tbody .person").click()
    assert SECRET in shown(page).text
    page.find_element("link text", "The page for the student").click()
    WebDriverWait(page, 20).until(lambda _: SECRET not in shown(page).text)
    page.find_element("link text", "The page for staff").click()
    WebDriverWait(page, 20).until(lambda _: SECRET in shown(page).text)
    assert not page.find_element("id", "bar").is_displayed()
    page.back()
    WebDriverWait(page, 20).until(lambda _: SECRET not in shown(page).text)
    page.forward()
    WebDriverWait(page, 20).until(lambda _: SECRET in shown(page).text)
    page.find_element("link text", "The class").click()
    assert "The class at a glance" in page.find_element("tag name", "h1").text


def test_a_students_page_can_be_saved_as_a_file_that_needs_no_other(page, tmp_path):
    page.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    page.find_element("id", "q").send_keys("wrong-1")
    page.find_element("css selector", "#rows tbody .for-student a").click()
    shown(page)
    page.find_element("link text", "Save as a file").click()
    file = tmp_path / "wrong-1.html"
    WebDriverWait(page, 20).until(lambda _: file.exists())
    assert file.read_text() == student_page(result_of("wrong-1", RIGHT, wrong_line()), Settings())


def test_a_page_that_is_missing_says_what_makes_it_again(page, address):
    viewer = address.replace("index.html", "page.html")
    for where, said in (
        ("#staff/00/nobody", "it is not in the report"),
        ("#staff/zz/nobody", "opens from the page of the class"),
        ("#staff/00/constructor", "it is not in the report"),
        ("", "opens from the page of the class"),
    ):
        page.get("about:blank")
        page.get(viewer + where)
        assert said in page.find_element("css selector", ".note").text, where


def test_a_page_whose_pack_is_missing_says_what_makes_it_again(chrome, tmp_path):
    published(tmp_path, [result_of("alice", RIGHT)])
    viewer = report_on(tmp_path).with_name("page.html").as_uri()
    (pack,) = (tmp_path / "report" / "pages").iterdir()
    pack.unlink()
    chrome.get(f"{viewer}#staff/{page_address('alice')}")
    note = WebDriverWait(chrome, 20).until(lambda _: chrome.find_elements("class name", "note"))
    assert "`backprop report` makes it again" in note[0].text


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_runs_out_of_the_page(page, width):
    resize(page, (width, 800))
    wide = page.execute_script("return document.documentElement.scrollWidth")
    resize(page, (1280, 800))
    assert wide <= width
