"""Work that is alike: pointed out where chance would hardly do it, and never where it would."""

from __future__ import annotations

import json
import math
import random
import re
from collections import defaultdict
from itertools import combinations, pairwise
from pathlib import Path
from unittest.mock import patch

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from grading.attacks import files
from grading.cli import main
from grading.parsing.features import Details, details_of
from grading.parsing.source import File
from grading.similarity import groups as similarity
from grading.similarity.groups import (
    COUNTED,
    EXPECTED,
    LEAST_CLASS,
    Feature,
    _features,
    _likely,
    group_lines,
    groups,
    similar_in,
)

COURSE = Path(__file__).parents[1]
MANY = "many-neurons"
HANDOUT = COURSE / "assignments" / MANY / f"{MANY}.ipynb"
SCHEMA = json.loads((Path(__file__).parent / "formats" / "similar.json").read_text())

# What students honestly write for each backward pass, the commonest first.
ERROR = [
    "return 2 * (a - y) * g / len(a), None",
    "return g * 2 * (a - y) / len(a), None",
    "return g * (2 / a.shape[0]) * (a - y), None",
    "return 2 / len(a) * (a - y) * g, None",
]
SIGMOID = ["return g * a * (1 - a)", "return a * (1 - a) * g", "return g * (a - a ** 2)"]
SUM = [
    "return g @ w, g.T @ a_prev, g.sum(0)",
    "return g @ w, g.T @ a_prev, g.sum(dim=0)",
    "return g.mm(w), g.t().mm(a_prev), g.sum(0)",
]
NAMES = ["g", "grad", "grad_output", "upstream", "go"]


def work(error, sigmoid, total, name="g", comment=""):
    """A module with these backward passes, and ``name`` for the upstream gradient."""

    def renamed(line):
        return re.sub(r"\bg\b", name, line)

    bodies = [
        ("SquaredError", "a, y", error),
        ("Sigmoid", "a,", sigmoid),
        ("WeightedSum", "a_prev, w", total),
    ]
    text = "import torch\nfrom torch.autograd import Function\n"
    for stage, saved, line in bodies:
        text += (
            f"\n\nclass {stage}(Function):\n    @staticmethod\n    def backward(ctx, {name}):\n"
            f"        {comment}\n        {saved} = ctx.saved_tensors\n        {renamed(line)}\n"
        )
    return text


def details(**texts):
    return [(name, details_of([File(f"{name}.py", text.encode())])) for name, text in texts.items()]


@pytest.fixture(scope="module")
def handout():
    return details_of([File(HANDOUT.name, HANDOUT.read_bytes())])


def honest(seed, count):
    chance = random.Random(seed)

    def chosen(ways):
        return chance.choices(ways, weights=range(len(ways), 0, -1))[0]

    return {
        f"s{number}": work(chosen(ERROR), chosen(SIGMOID), chosen(SUM), chance.choice(NAMES))
        + f"# {number}\n"
        for number in range(count)
    }


@pytest.mark.slow
@settings(max_examples=10)
@given(st.integers(), st.sampled_from([2, 5, 12, 30]))
def test_a_class_that_solves_a_short_exercise_honestly_is_not_pointed_at(handout, seed, count):
    assert groups(details(**honest(seed, count)), handout) == []


CHOICES = {
    "file": st.sampled_from("abcdef"),
    "text": st.sampled_from("tuvwxyz"),
    "units": st.dictionaries(
        st.sampled_from(["u1", "u2", "u3", "u4"]), st.sampled_from([("f", 20), ("f", 20)])
    ),
    "comments": st.lists(st.sampled_from(["one", "as Ann told me here", "no"]), unique=True),
    "names": st.lists(st.sampled_from(["alpha", "beta", "gamma"]), unique=True),
    "strings": st.lists(st.sampled_from(["some text", "other text"]), unique=True),
}


def plainly(read, handout):
    """What `groups` finds, by comparing all pairs, each with all in memory."""
    given = set(_features(handout))
    own = {name: _features(each).keys() - given for name, each in read}
    own = {name: own[name] for name in sorted(own) if any(kind == "unit" for kind, _ in own[name])}
    having: defaultdict[Feature, list[str]] = defaultdict(list)
    for name, features in own.items():
        for feature in features:
            having[feature].append(name)
    found = []
    for pair in combinations(own, 2):
        both = own[pair[0]] & own[pair[1]]
        files = [each for each in both if each[0] == "file"]
        if not (
            any(pair in pairwise(having[each]) for each in files)
            or any(len(having[each]) <= similarity.MOST_SHARING for each in both - {*files})
        ):
            continue
        likely = {each: _likely(each, 20, len(having[each]), len(own)) for each in both - {*files}}
        surprises: list[float] = []
        for kind, most in COUNTED.items():
            ranked = sorted(value for each, value in likely.items() if each[0] == kind)
            surprises += [-math.log10(value) for value in ranked[:most]]
        expected = math.comb(len(own), 2) * 10 ** -math.fsum(surprises)
        chance = 0.0 if files else float(f"{expected:.2g}")
        telling = {"file", "comment", *(["unit"] if len(own) >= LEAST_CLASS else [])}
        if chance < EXPECTED and any(kind in telling for kind, _ in both):
            found.append((chance, *pair))
    joined: list[tuple[set[str], float]] = []
    for chance, *names in sorted(found):
        near = [group for group in joined if group[0].intersection(names)]
        together = {*names}.union(*(group[0] for group in near))
        least = min([chance, *(group[1] for group in near)])
        joined = [*(group for group in joined if group not in near), (together, least)]
    return sorted((sorted(names), chance) for names, chance in joined)


@settings(max_examples=200)
@given(st.lists(st.builds(Details, **CHOICES), min_size=2, max_size=14), st.builds(Details))
def test_an_index_finds_what_comparing_all_pairs_finds(works, handed_out):
    read = [(f"s{number}", each) for number, each in enumerate(works)]
    with patch.object(similarity, "MOST_SHARING", 3):
        found = groups(read, handed_out)
        expected = plainly(read, handed_out)
    assert [each.chance for each in found] == sorted(each.chance for each in found)
    assert sorted((each.submissions, each.chance) for each in found) == expected


ODD = (
    "return (a - y).add(a - y).mul(g).div(a.size(0)), None",
    "return g.mul(a).sub(g.mul(a).mul(a))",
    "return torch.einsum('nk,ki->ni', g, w), torch.einsum('nk,ni->ki', g, a_prev), g.sum(0)",
)


def test_renamed_work_is_found_among_many(handout):
    first = work(*ODD, comment="# my own way")
    texts = honest(1, 30) | {"ann": first, "ben": work(*ODD, name="delta")}
    (group,) = groups(details(**texts), handout)
    assert group.submissions == ["ann", "ben"] and 0 < group.chance < 0.02
    units = [each for each in group.shared if each.kind == "unit"]
    assert [each.what for each in units] and {each.others for each in units} == {0}
    assert "Sigmoid.backward is the same" in "\n".join(group_lines([group], {}))


def test_what_many_write_points_at_nobody(handout):
    """A worked solution from the lecture is everybody's."""
    texts = {f"s{number}": work(*ODD, name=f"g{number}") for number in range(20)}
    assert groups(details(**texts), handout) == []


def test_comments_that_two_share_are_found_in_the_smallest_class(handout):
    ann = work(ERROR[0], SIGMOID[0], SUM[0], comment="# chain rule backwards as Ann told me")
    ben = work(ERROR[1], SIGMOID[1], SUM[1], "go", comment="# chain rule backwards as Ann told me")
    (group,) = groups(details(ann=ann, ben=ben), handout)
    assert ("comment", 0) in [(each.kind, each.others) for each in group.shared]


def test_the_same_file_is_pointed_out_whoever_else_has_it(handout):
    same = work(ERROR[0], SIGMOID[0], SUM[0])
    texts = honest(2, 5) | {f"same{number}": same for number in range(4)}
    (group,) = groups(details(**texts), handout)
    assert group.submissions == ["same0", "same1", "same2", "same3"]
    assert group.shared[0].kind == "file" and group.chance == 0.0


@pytest.mark.slow
def test_the_handout_as_it_was_given_is_nobodys_work(tmp_path, handout):
    for name in ("ann", "ben"):
        (tmp_path / f"{name}.ipynb").write_bytes(HANDOUT.read_bytes())
    found, unread = similar_in(tmp_path, MANY, HANDOUT)
    assert found == [] and unread == {}


def test_docstrings_annotations_and_layout_change_nothing(handout):
    bare = "def f(x):\n    return x + 1\n"
    dressed = "def better(value: int) -> int:\n    'Adds.'\n\n    return (value +\n        1)\n"
    other = "def f(x):\n    return x + 2\n"
    read = dict(details(bare=bare, dressed=dressed, other=other))
    assert read["bare"].units.keys() == read["dressed"].units.keys()
    assert read["bare"].units.keys() != read["other"].units.keys()


@pytest.mark.slow
@pytest.mark.proof
def test_what_exhausts_a_parser_costs_itself_only(tmp_path):
    bombs = ["brackets", "attributes", "f-strings", "json-nested"]
    for name in (*(f"bomb-{each}" for each in bombs), "bomb", "slip"):
        file, content = files.content(name)
        (tmp_path / file).write_bytes(content)
    for name in ("ann", "ben"):
        (tmp_path / f"{name}.py").write_text(work(*ODD, comment="# just like this, said Ann"))
    found, unread = similar_in(tmp_path, MANY, HANDOUT)
    assert [group.submissions for group in found] == [["ann", "ben"]]
    assert "bomb" in unread or "bomb-json-nested" in unread


@pytest.mark.slow
def test_the_command_says_it_in_words_and_in_json(tmp_path):
    for name in ("ann", "ben"):
        (tmp_path / f"{name}.py").write_text(work(*ODD, comment="# [bold]a\u202e comment of mine"))
    out = tmp_path / "out" / "groups.json"
    out.parent.mkdir()
    line = ["similar", str(tmp_path), "--assignment", MANY, "--json", str(out)]
    done = CliRunner().invoke(main, [*line, "--handout", str(HANDOUT)])
    assert done.exit_code == 0, done.output
    assert "ann, ben" in done.output and "byte for byte" in done.output
    assert "[bold]a\\u202e comment" in done.output and "\u202e" not in done.output
    jsonschema.validate(json.loads(out.read_text(encoding="utf-8")), SCHEMA)
    refused = CliRunner().invoke(main, [*line, "--handout", str(tmp_path / "none.ipynb")])
    assert refused.exit_code == 2 and "its code would count as students' own" in refused.output
