"""The class page, as a person uses it, in a real browser without a network."""

from __future__ import annotations

import pytest

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


def test_text_of_students_does_not_act(page):
    page.find_element("id", "q").send_keys("script")
    assert names(page) == [ATTACK]
    assert page.title != "owned"
    page.find_element("css selector", "#rows tbody .person").click()
    assert page.title != "owned" and ATTACK in page.page_source.replace("&lt;", "<").replace(
        "&gt;", ">"
    )


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
    words = page.find_element("tag name", "body").text
    assert "1 of 2 points" in words and "behaves like g ⊙ z" in words and SECRET not in words


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_runs_out_of_the_page(page, width):
    resize(page, (width, 800))
    wide = page.execute_script("return document.documentElement.scrollWidth")
    resize(page, (1280, 800))
    assert wide <= width
