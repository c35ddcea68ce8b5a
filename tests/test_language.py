"""What students read can be translated: the catalogue has every text, and a translation is used."""

from __future__ import annotations

import re

import pytest

from harness import language
from harness.candidate.workbench import Workbench
from harness.judging.judge import judge
from harness.many_neurons import MANY_NEURONS
from harness.show import report_text
from tests.catalogue import TEMPLATE, template
from tests.right import MANY, Sigmoid, WeightedSum, with_backward


def test_the_template_catalogue_is_current():
    written = TEMPLATE.read_text(encoding="utf-8")
    assert written == template(), "write it anew with `python -m tests.catalogue`"
    hint = MANY_NEURONS.stage("Sigmoid").mistakes[0].hint
    assert f'msgid "{hint}"' in written


def test_a_compiled_catalogue_is_used(tmp_path, monkeypatch):
    messages = pytest.importorskip("babel.messages")
    from babel.messages.mofile import write_mo

    catalogue = messages.Catalog("de")
    catalogue.add("Everything holds. Well done.", "Alles richtig. Gut gemacht.")
    folder = tmp_path / "de" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    with (folder / "backprop.mo").open("wb") as file:
        write_mo(file, catalogue)
    monkeypatch.setattr(language, "LOCALE", tmp_path)
    monkeypatch.setenv(language.VARIABLE, "de")
    language._translations.cache_clear()
    report = judge(MANY_NEURONS, Workbench(MANY), only=["chain/sigmoid"]).report
    assert report_text(report).endswith("→ Alles richtig. Gut gemacht.")
    language._translations.cache_clear()


def half(ctx, g):
    (a,) = ctx.saved_tensors
    return g * a * (1 - a) / 2


def too_few(ctx, g):
    a_prev, w = ctx.saved_tensors
    return g @ w, g.T @ a_prev


WRONG = {
    "sigmoid/gradient/z": {"Sigmoid": with_backward(Sigmoid, half)},
    "weighted-sum/gradient/w": {"WeightedSum": with_backward(WeightedSum, too_few)},
}


@pytest.mark.parametrize("id", WRONG)
def test_a_message_is_made_of_translated_texts(id, monkeypatch):
    class Marked:
        def gettext(self, text: str) -> str:
            return f"«{text}»"

    monkeypatch.setattr(language, "_translations", lambda _language: Marked())
    (check,) = judge(MANY_NEURONS, Workbench(MANY | WRONG[id]), only=[id]).report.checks
    left = check.message
    while left != (left := re.sub(r"«[^«»]*»", "", left)):
        pass
    assert not re.search(r"[a-z]{3,} [a-z]{3,}", left), left
