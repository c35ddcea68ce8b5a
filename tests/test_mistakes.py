"""The mistakes that teachers know are mistakes, and what is said about them can be read."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from grading.verify.mutants import claims_of
from harness.course.assignments import SHIPPED, load_assignment
from harness.course.settings import Settings
from harness.course.stage import Mistake
from harness.declare import stage
from harness.errors import UserError
from harness.formulas.same import generic_cases, same_as_true, value_of
from harness.mistakes import mistakes_in
from harness.mistakes.catalogue import edited, load, with_mistakes
from harness.mistakes.repairs import repaired
from harness.probes import plan

STAGES = [
    pytest.param(name, stage, id=f"{name}/{stage.name}")
    for name in SHIPPED
    for stage in load_assignment(name).stages
]
# Rejected at other points than generic ones: right in value, but not to the last digit, or not
# everywhere.
ELSEWHERE = {"stability", "precision", "special"}


def as_received(stage, mistake):
    """The stage with the mistake's forward, whose output its expressions are about."""
    if not mistake.forward:
        return stage

    def forward(*inputs):
        return stage.evaluate(mistake.forward, inputs, (torch.zeros(()),))

    return replace(stage, forward=forward, mistakes=())


def test_there_are_more_than_120_without_those_of_every_stage():
    assert sum(len(s.mistakes) for name in SHIPPED for s in load_assignment(name).stages) > 240


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_names_are_unique_and_kebab_case(assignment, stage):
    names = [mistake.name for mistake in mistakes_in(stage)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in names)


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_hints_are_sentences_that_do_not_give_the_answer(assignment, stage):
    for mistake in mistakes_in(stage):
        hint = mistake.hint
        assert re.search(r"[.?!]$", hint), hint
        assert 25 <= len(hint) <= 200, hint
        assert "  " not in hint and "\n" not in hint
        assert "wrong" not in hint.lower(), hint
        bare = hint.replace(" ", "")
        for true in stage.gradients.values():
            assert len(true) == 1 or true.replace(" ", "") not in bare, hint


# What a step of a repair is about, and the words of which one has to lead there.
LEADS_TO = {
    r"^negate": "sign|which way|rise|fall|C fall|downhill|exponent|the same|prediction",
    r"^transpose|\.T$": "shape|rows|axis",
    r"^take": "order|held",
    r"^return": "None|Zero|return|never|not depend|anything|moves|three inputs",
    r"^bracket": "before it subtracts|whole",
    r"(by|out|put) N\b": r"sample|averag|batch|divid|\bN\b|root|term",
    r"^put g for ones": r"\bg\b|\bC\b|upstream",
}


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_undoing_what_a_hint_names_gives_the_right_gradient(assignment, stage):
    """`backprop verify` judges it; here are the values."""
    for mistake in mistakes_in(stage):
        wrong = {**stage.gradients, **mistake.gradients}
        assert set(mistake.repair) == set(mistake.gradients), mistake.name
        for name, steps in mistake.repair.items():
            right = repaired(steps, wrong[name], wrong)
            is_none = right == "None" and name in stage.optional
            assert is_none or same_as_true(stage, name, right), (mistake.name, right)
            for step, (about, words) in product(steps.split("; "), LEADS_TO.items()):
                said = not re.search(about, step) or re.search(words, mistake.hint)
                assert said, f"{mistake.hint} does not lead to: {step}"


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_every_expression_differs_from_the_truth_at_generic_points(assignment, stage):
    for mistake in mistakes_in(stage):
        if set(mistake.rejected_by) <= ELSEWHERE:
            continue
        received = as_received(stage, mistake)
        for name, expression in mistake.gradients.items():
            assert differs(stage, received, name, expression), (mistake.name, name)
        if mistake.forward:
            inputs = generic_cases(stage)[0].inputs
            right, wrong = (
                stage.forward(*inputs),
                value_of(received, stage.output, inputs, (right_g,)),
            )
            assert wrong is None or wrong.shape != right.shape or not torch.allclose(wrong, right)


right_g = torch.ones((), dtype=torch.float64)


def differs(stage, received, name, expression):
    """Whether the expression, over the output as received, is not the stage's true gradient."""
    if received is stage:
        return same_as_true(stage, name, expression) is None
    at = tuple(stage.inputs).index(name)
    for case in generic_cases(stage):
        value = value_of(received, expression, case.inputs, case.upstreams[0])
        true = case.gradients[0][at]
        assert true is not None
        if value is None or value.shape != true.shape or not torch.allclose(value, true):
            return True
    return False


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_no_two_mistakes_in_one_gradient_have_the_same_value(assignment, stage):
    """A diagnosis would not know which of the two to name."""
    points = [(case.inputs, case.upstreams[0]) for case in generic_cases(stage)]
    seen: dict[tuple[object, ...], str] = {}
    for mistake in mistakes_in(stage):
        if mistake.forward or mistake.code or set(mistake.rejected_by) <= ELSEWHERE:
            continue
        key: tuple[object, ...] = ()
        for name, expression in mistake.gradients.items():
            values = [value_of(stage, expression, *point) for point in points]
            if all(value is not None for value in values):
                rounded = [[f"{x:.9g}" for x in v.flatten().tolist()] for v in values]  # type: ignore[union-attr]
                key += (name, str(rounded), str([tuple(v.shape) for v in values]))  # type: ignore[union-attr]
            else:
                key += (name, expression)
        other = seen.setdefault(key, mistake.name)
        assert other == mistake.name, f"{other} is {mistake.name}"


@pytest.mark.parametrize(("assignment", "stage"), STAGES)
def test_every_mistake_names_checks_that_there_are(assignment, stage):
    known = {check.id for check in plan(load_assignment(assignment), Settings())}
    for mistake in mistakes_in(stage):
        assert set(claims_of(stage, mistake)) <= known, mistake.name


def test_a_mistake_says_which_checks_reject_it():
    both = Mistake("half", {"a": "g", "y": "-g"}, forward="a - y", hint="Is it squared?")
    assert both.rejected_by == ("forward", "gradient/a", "gradient/y")
    with pytest.raises(ValueError, match="the mistake odd does not say"):
        Mistake("odd", hint="Where?", code="pass")


def test_a_mistake_in_an_input_that_a_stage_does_not_have_is_refused():
    odd = Mistake("odd", {"q": "g"}, hint="Which input?")
    with pytest.raises(UserError, match="Negative: q is not an input with a gradient"):
        stage("Negative", "x[] -> y", torch.neg, mistakes=(odd,))


def test_a_stage_of_an_instructors_own_has_the_mistakes_of_every_stage():
    negative = stage("Negative", "x[] -> y", torch.neg, gradients={"x": "-g"})
    mistakes = {mistake.name: mistake for mistake in mistakes_in(negative)}
    assert mistakes["upstream-missing"].gradients == {"x": "-ones_like(g)"}
    assert {"last-forward-wins", "float32-inside"} <= set(mistakes)
    assert "contiguous-only" not in mistakes
    assert "one-gradient-too-few" not in mistakes


SQUARED_ERROR = load_assignment("many-neurons").stage("SquaredError")


def catalogue(folder, text):
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return load(path)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("gradients.a = '-_'", "hint is missing"),
        ("hint = 3", "hint must be a string"),
        ("hint = '?'\ngradient.a = '-_'", "gradient is not a key of a mistake"),
        ("hint = '?'\nrejected_by = 'forward'", "rejected_by must be a list of strings"),
        ("hint = '?'\nonly = 'vectors'", "only must be one of scalar, batched"),
        ("hint = '?'\nscalar.hint = 3", "scalar: hint must be a string"),
        ("hint = '?'\ngradients.a = 3", "gradients.a must be an expression or a table"),
        ("hint = '?'\ngradients.q = '-_'", "there is no input q; the inputs are a, y"),
        ("hint = '?'\ngradients.a = { w = 'y' }", 'there is no "w" in the gradient'),
        (
            "hint = '?'\ngradients.a = '_w'",
            "_w stands for the gradient of w, which is not",
        ),
        ("hint = '?'\ngradients.a = 'g *'", "g * is not an expression"),
        ("hint = '?'\nforward = 'a - q'", "q means nothing in a - q"),
        ("hint = '?'\ncode = 'pass'", "the mistake odd does not say which check rejects it"),
    ],
)
def test_a_bad_entry_is_named_with_its_file_in_a_sentence(tmp_path, table, said):
    with pytest.raises(UserError) as refused:
        with_mistakes(SQUARED_ERROR, catalogue(tmp_path, f"[odd]\n{table}\n"))
    assert str(refused.value).startswith("own.toml, [odd]: ")
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_catalogue_that_is_no_toml_is_refused_with_its_path(tmp_path):
    with pytest.raises(UserError, match=r"own\.toml: .*line 1"):
        catalogue(tmp_path, "[odd\n")


HINTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"))


@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}(-[a-z])?", fullmatch=True), HINTS, min_size=1))
def test_an_entry_is_read_as_it_is_written(tmp_path_factory, hints):
    text = ""
    for name, hint in hints.items():
        told = json.dumps(hint, ensure_ascii=False)
        text += f"[{name}]\ngradients.y = '-_'\nhint = {told}\n"
    read = catalogue(tmp_path_factory.getbasetemp(), text)
    mistakes = with_mistakes(SQUARED_ERROR, read).mistakes
    assert [(mistake.name, mistake.hint) for mistake in mistakes] == list(hints.items())


def test_an_entry_of_ones_own_replaces_that_of_the_same_name(tmp_path):
    base = catalogue(tmp_path, "[one]\nforward = 'a'\nhint = '1'\n[two]\nforward = 'y'\nhint = '2'")
    own = catalogue(tmp_path, "[new]\nforward = 'a'\nhint = '3'\n[one]\nforward = 'C'\nhint = '4'")
    mistakes = with_mistakes(SQUARED_ERROR, base | own).mistakes
    assert [(each.name, each.hint) for each in mistakes] == [
        ("one", "4"),
        ("two", "2"),
        ("new", "3"),
    ]


def test_a_variant_says_what_is_different_in_its_stages(tmp_path):
    text = "[half]\nforward = 'a / N'\nhint = '?'\nscalar.forward = 'a / 2'\n"
    text += "[mean]\nforward = 'a.mean()'\nhint = '?'\nonly = 'batched'\n"
    read = catalogue(tmp_path, text)
    scalar = load_assignment("one-neuron").stage("SquaredError")
    assert [each.forward for each in with_mistakes(scalar, read).mistakes] == ["a / 2"]
    both = with_mistakes(SQUARED_ERROR, read).mistakes
    assert [each.forward for each in both] == ["a / N", "a.mean()"]


def test_edits_are_of_whole_words_and_all_at_once():
    assert edited({"w": "g.T @ a"}, {"w": {"a": "g", "g": "a"}}) == {"w": "a.T @ g"}
    assert edited({"w": "g * a_prev * a"}, {"w": {"a": "z"}}) == {"w": "g * a_prev * z"}
    assert edited({"w": "g", "b": "-w"}, {"*": {"g": "abs(g)"}}) == {"w": "abs(g)", "b": "-w"}


def test_edits_of_two_mistakes_compose():
    lost, sign = {"a": {" * 2": ""}}, {"a": {"a - y": "y - a"}}
    true = SQUARED_ERROR.gradients
    both = edited(edited(true, lost), sign)
    assert both["a"] == "g * (y - a) / N" == edited(edited(true, sign), lost)["a"]
    assert edited(both, {"y": "_a"})["y"] == both["a"]
    # What is added is multiplied as a whole by what comes next.
    assert edited(edited({"w": "g * a"}, {"w": "_ + w"}), {"w": "2 * _"})["w"] == "2 * (g * a + w)"


EXPRESSIONS = st.sampled_from(["g", "g * a", "a - y", "g + 1", "-g", "y > a", "g.sum(0)"])


@given(EXPRESSIONS, st.sampled_from(["2 * _", "_ * a", "_ / 3", "-_"]))
def test_a_gradient_stands_as_a_whole_where_an_expression_names_it(true, edit):
    (made,) = edited({"a": true}, {"a": edit}).values()
    values = {"a": 5.0, "y": 3.0, "g": torch.tensor([[2.0, 7.0]])}
    whole = {**values, "_": eval(true, values)}
    assert torch.equal(torch.as_tensor(eval(made, values)), torch.as_tensor(eval(edit, whole)))


@pytest.mark.parametrize("steps", ["take q", "multiply by (", "leave out N", "improve it"])
def test_a_repair_that_means_nothing_says_which_step(steps):
    with pytest.raises(ValueError, match=re.escape(steps)):
        repaired(steps, "g * a", {"a": "g * a"})
