"""A network learns from an instructor's own data, and data that cannot be used are refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import harness.declare as declare
from harness.candidate.workbench import Workbench
from harness.declare import assignment, indices, labels, stage, target
from harness.errors import DeclarationError, UserError
from harness.judging.judge import judge
from harness.judging.validation import validate
from harness.training import train_candidate, train_reference
from tests.test_networks import affine, relu, relu_network, right

square = stage(
    "Square", "s[N K], y[N K] -> C", lambda s, y: ((s - y) ** 2).mean(), inputs={"y": target()}
)
flat = stage("Flat", "s[N K], y[N] -> C", lambda s, y: ((s[:, 0] - y) ** 2).mean())
embed = stage(
    "Embedding",
    "table[V D], i[N T] -> e",
    lambda table, i: table[i].mean(1),
    inputs={"i": indices("V")},
)
HIDDEN = {"w1": "D 16"}


def points(count=60, classes=3):
    """Points in clusters around the corners of a triangle, and which corner that is."""
    generator = torch.Generator().manual_seed(7)
    y = torch.arange(count) % classes
    angle = 2 * math.pi * y / classes
    corners = torch.stack([angle.cos(), angle.sin()], 1)
    return corners * 3 + 0.4 * torch.randn(count, 2, generator=generator), y


class Declaring:
    """Declares trainings in a file of a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.scope = {**vars(declare), "__name__": "assignment"}
        source = "def call(kind, data, more):\n    return (regress, classify)[kind](data, **more)\n"
        exec(compile(source, str(folder / "assignment.py"), "exec"), self.scope)

    def __call__(self, data, classifies=True, **more):
        given = {"steps": 60, "rate": 0.5, "at_least": 0.9, **more}
        return self.scope["call"](classifies, data, given)


@pytest.fixture
def classify(tmp_path):
    return Declaring(tmp_path)


def write_csv(path: Path, header, rows):
    lines = [",".join(map(str, row)) for row in [header, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_points(folder: Path, name="points.csv", **more):
    x, y = points(**more)
    write_csv(
        folder / name,
        ["u", "v", "class"],
        [(*a.tolist(), int(b)) for a, b in zip(x, y, strict=True)],
    )


def of(network, train, parameters=HIDDEN):
    return assignment("Own", network=network, train=train, parameters=parameters)


def run_of(declared):
    return train_reference(
        declared.task, tuple((each.name, each.forward) for each in declared.stages)
    )


def regression(x, y, w1, b1, w2, b2):
    s = affine(relu(affine(x, w1, b1)), w2, b2)
    return square(s, y), s


def flat_regression(x, y, w1, b1, w2, b2):
    s = affine(relu(affine(x, w1, b1)), w2, b2)
    return flat(s, y), s


@pytest.mark.parametrize("batch", [None, 20])
def test_a_network_learns_a_table(classify, batch):
    write_points(classify.folder)
    declared = of(relu_network, classify("points.csv", batch=batch))
    run = run_of(declared)
    assert run.trouble is None and run.accuracy > 0.9
    assert run.costs[-1] < run.costs[0] / 2 and len(run.costs) == 60


@pytest.mark.slow
def test_a_right_candidate_earns_the_training_and_a_wrong_one_does_not(classify):
    write_points(classify.folder)
    declared = of(relu_network, classify("points.csv", name="to tell corners apart"))
    names = {each.name: right(each) for each in declared.stages}
    report = judge(declared, Workbench(names), seed=4).report
    (check,) = [each for each in report.checks if each.id == "training"]
    assert check.outcome == "passed"
    assert check.title == "A network learns to tell corners apart with your functions"
    names["ReLU"] = right(relu, lambda found, calls: (found[0] * (1 if calls < 30 else 0.5),))
    run = train_candidate(declared.task, Workbench(names))
    assert not torch.allclose(run.path["w1"][-1], run_of(declared).path["w1"][-1])


def test_data_come_from_a_function_or_arrays_as_from_a_table(classify):
    x, y = points()
    write_points(classify.folder)
    np.savez(classify.folder / "points.npz", x=x.numpy(), y=y.numpy())
    splits = [classify(data).split for data in ("points.csv", "points.npz", points)]
    for split in splits[1:]:
        assert torch.allclose(split.seen[0].double(), splits[0].seen[0], atol=1e-5)
        assert torch.equal(split.unseen[1], splits[0].unseen[1])


def test_samples_are_split_and_standardised_always_alike(classify):
    write_points(classify.folder)
    one, other = (classify("points.csv", unseen=0.2).split for _ in range(2))
    assert len(one.unseen[0]) == 12 and len(one.seen[0]) == 48
    assert torch.equal(one.seen[0], other.seen[0])
    torch.testing.assert_close(one.seen[0].mean(0), torch.zeros(2, dtype=torch.float64))
    assert one.classes == 3 and one.seen[1].dtype == torch.int64


def test_the_labels_may_stand_in_any_column(classify):
    x, y = points()
    rows = [(int(b), *a.tolist()) for a, b in zip(x, y, strict=True)]
    write_csv(classify.folder / "p.csv", ["class", "u", "v"], rows)
    assert classify("p.csv", label="class").split.classes == 3


def test_a_task_knows_the_files_that_it_reads(classify):
    write_points(classify.folder)
    assert of(relu_network, classify("points.csv")).task.files == (classify.folder / "points.csv",)
    assert of(relu_network, classify(points)).task.files == ()


@pytest.mark.parametrize("network", [regression, flat_regression])
def test_a_regression_is_judged_by_the_variance_that_it_explains(classify, network):
    x = torch.linspace(-2, 2, 80)
    write_csv(classify.folder / "w.csv", ["x", "y"], zip(x.tolist(), (x**2).tolist(), strict=True))
    train = classify("w.csv", classifies=False, steps=200, rate=0.1)
    parameters = {"w1": "D 16", "w2": "16 1"}
    declared = of(network, train, parameters)
    run = run_of(declared)
    assert 0.9 < run.accuracy <= 1
    unseen = declared.task.unseen()[2]
    assert declared.task.score(torch.full_like(unseen, float(unseen.mean())), unseen) < 1e-9


def test_labels_are_one_hot_for_a_cost_of_numbers(classify):
    write_points(classify.folder)
    declared = of(regression, classify("points.csv"))
    inputs, targets = declared.task.batch(0)
    assert targets.shape == (len(inputs), 3) and set(targets.unique().tolist()) == {0, 1}
    assert run_of(declared).accuracy > 0.9


def test_texts_as_indices_are_not_standardised(classify):
    generator = torch.Generator().manual_seed(1)

    def texts():
        i = torch.randint(6, (60, 4), generator=generator)
        return i, (i > 2).sum(1) // 3

    def network(i, y, table, w, b):
        s = affine(embed(table, i), w, b)
        return declared_loss(s, y), s

    declared_loss = stage(
        "CrossEntropy", "s[N K], y[N] -> C", F.cross_entropy, inputs={"y": labels("K")}
    )
    train = classify(texts, at_least=0.5)
    declared = of(network, train, {"table": "6 5"})
    assert declared.task.batch(0)[0].dtype == torch.int64
    assert run_of(declared).costs[-1] < run_of(declared).costs[0]


def test_parameters_start_as_the_instructor_says(classify):
    write_points(classify.folder)
    start = {"b1": 0.5, "w2": torch.ones, "b2": torch.arange(3.0)}
    parameters = of(relu_network, classify("points.csv", start=start)).task.parameters()
    assert torch.equal(parameters["b1"], torch.full((16,), 0.5, dtype=torch.float64))
    assert torch.equal(parameters["w2"], torch.ones(16, 3, dtype=torch.float64))
    assert parameters["w1"].std() == pytest.approx(1 / math.sqrt(2), rel=0.4)
    assert all(value.dtype == torch.float64 for value in parameters.values())


@pytest.mark.parametrize(
    ("header", "rows", "more", "said"),
    [
        (
            ["u", "class"],
            [("1.5", 0)] * 5 + [("x", 1)] * 5,
            {},
            "row 7 of p.csv, column 'u': 'x' is not a",
        ),
        (["u", "class"], [(1, 0)] * 9 + [(1, 0, 2)], {}, "row 11 of p.csv has 3 cells"),
        (["u", "class"], [(1, 0)] * 5 + [(2, 2)] * 5, {}, "must be 0, 1, 2 …; they are 0, 2"),
        (["u", "class"], [(1, 0.5)] * 10, {}, "must be 0, 1, 2 …; they are no whole numbers"),
        (["u", "class"], [("nan", 0)] * 10, {}, "x of p.csv has a value that is not finite"),
        (["u", "class"], [(1, 0)] * 3, {}, "p.csv has 3 samples; 8 are the least"),
        (["u", "class"], [(1, 0)] * 10, {"label": "kind"}, "has no column 'kind'; it has u, class"),
        (["u"], [(1,)] * 10, {}, "has no column"),
        (["u", "class"], [(1, 0)] * 10, {"batch": 50}, "batch = 50; there are 8 samples"),
    ],
)
def test_data_that_cannot_be_used_are_refused_with_the_place(classify, header, rows, more, said):
    write_csv(classify.folder / "p.csv", header, rows)
    train = classify("p.csv", **more)
    with pytest.raises(DeclarationError, match=said) as refusal:
        _ = train.split
    assert f"{classify.folder.name}/assignment.py, line 2:" in str(refusal.value)


def test_data_that_cannot_be_read_are_refused(classify):
    (classify.folder / "p.csv").write_bytes(b"u,class\n\xff,0\n" * 9)
    (classify.folder / "p.npz").write_text("no arrays")
    np.savez(classify.folder / "q.npz", x=np.zeros(9))

    def broken():
        raise ZeroDivisionError("no data today")

    for data, said in {
        "p.csv": "p.csv cannot be read: UnicodeDecodeError",
        "p.npz": "p.npz cannot be read: ",
        "q.npz": "q.npz has no array y; it has x",
        broken: "broken cannot be read: ZeroDivisionError: no data today",
        max: "max cannot be read: TypeError",
        points().__getitem__: "__getitem__ cannot be read: TypeError",
        dict: "dict must return",
    }.items():
        with pytest.raises(DeclarationError, match=said):
            _ = classify(data).split


@pytest.mark.parametrize(
    ("data", "more", "said"),
    [
        ("none.csv", {}, "there is no file none.csv beside it"),
        ("points.txt", {}, "neither a .csv nor a .npz file"),
        ("points.csv", {"steps": 0}, "steps and rate must be positive"),
        ("points.csv", {"unseen": 1.5}, "unseen = 1.5; it is a share"),
        ("points.csv", {"at_least": 85}, "at_least = 85; it is a share, such as 0.85"),
    ],
)
def test_a_training_that_cannot_be_is_refused_at_once(classify, data, more, said):
    write_points(classify.folder)
    (classify.folder / "points.txt").touch()
    with pytest.raises(DeclarationError, match=said):
        classify(data, **more)


def test_a_training_that_diverges_is_refused_with_the_place(classify):
    write_points(classify.folder)
    own = of(relu_network, classify("points.csv", rate=1e30, at_least=0.1))
    with pytest.raises(UserError, match=r"line \d+: the training diverges on the references"):
        validate(own)


def no_prediction(x, y, w, b):
    return relu_network(x, y, w, b, w, b)[0]


def test_a_network_that_cannot_be_trained_is_refused(classify):
    write_points(classify.folder)
    train = classify("points.csv")
    with pytest.raises(DeclarationError, match="must return the cost and a prediction"):
        assignment("Own", network=no_prediction, train=train)
    with pytest.raises(DeclarationError, match="a training needs a network"):
        assignment("Own", [affine], train=train)
    with pytest.raises(DeclarationError, match="v1 is not a parameter to start; those are w1"):
        of(relu_network, classify("points.csv", start={"v1": 0.0}))
    undetermined = of(relu_network, train, {})
    with pytest.raises(DeclarationError, match=r'K of w1 .* as in parameters={"w1": "D 32"}'):
        undetermined.task.parameters()
    unfit = of(relu_network, train, {"w1": "5 16"})
    with pytest.raises(DeclarationError, match="does not run on the data"):
        unfit.task.parameters()
    unequal = of(relu_network, classify("points.csv", start={"b1": torch.zeros(3)}))
    with pytest.raises(DeclarationError, match="the start of b1 has the shape"):
        unequal.task.parameters()
