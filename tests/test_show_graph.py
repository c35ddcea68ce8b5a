"""A network is drawn as a spine with its side branches, and as a list where no drawing is good."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
import torch
from torch.nn import functional as F

from harness.course.report import Check, Report
from harness.declare import assignment, labels, stage
from harness.drawing.graph import graph_of
from harness.many_neurons import MANY_NEURONS
from harness.show import chain_picture

affine = stage("Affine", "x[N D], w[D K], b[K] -> z", lambda x, w, b: x @ w + b)
relu = stage("ReLU", "z[N K] -> a", torch.relu, gradients={"z": "g * (z > 0)"})
loss = stage("Loss", "s[N K], y[N] -> C", F.cross_entropy, inputs={"y": labels("K")})
cell = stage("Cell", "x[N D], h[N D] -> h_next, c", lambda x, h: (x * h, x + h))
mean = stage("Mean", "x[N D] -> m", lambda x: x.mean())


def plain(x, y, w1, b1, w2, b2):
    return loss(affine(relu(affine(x, w1, b1)), w2, b2), y)


def residual(x, y, w, b):
    return loss(x + relu(affine(x, w, b)), y)


def deep(x, y, w1, b1, w2, b2, w3, b3, w4, b4):
    for w, b in ((w1, b1), (w2, b2), (w3, b3)):
        x = relu(affine(x, w, b))
    return loss(affine(x, w4, b4), y)


def gated(x, u, y, w, b, v, c):
    return loss(relu(affine(x, w, b)) * affine(u, v, c), y)


def shaped(x, y, w, b):
    return loss(affine(x.reshape(x.shape[0], -1), w, b), y)


def shared(x, y, w, b):
    return loss(relu(affine(x, w, b)) + affine(x * 2, w, b), y)


def two_ways(x, y, w1, b1, w2, b2):
    return loss(relu(affine(x, w1, b1)) * affine(x, w2, b2), y)


def outputs(x, h):
    h_next, c = cell(x, h)
    return mean(h_next + c)


def twice(x):
    return mean(x * x)


def long(x, y):
    for once in (torch.exp, torch.sin, torch.cos, torch.tanh, torch.relu, torch.abs, torch.square):
        x = once(x)
    return loss(x, y)


DRAWN = [plain, residual, deep, gated, shaped]
LISTED = [shared, two_ways, outputs, twice, long]


def of(network):
    shapes = {"x": "N D"} if network in (shaped, shared, long, twice) else {}
    return assignment("Own", network=network, parameters=shapes)


def graph(network):
    return graph_of(of(network).network)


def report(**outcomes):
    checks = (
        Check(f"{slug.replace('_', '/gradient/')}", "S", "t", outcome, 0, 1)
        for slug, outcome in outcomes.items()
    )
    return Report("own", tuple(checks))


def said(picture):
    texts = ET.fromstring(picture.svg).iter("{http://www.w3.org/2000/svg}text")
    return re.sub(r"\s+", "", "|".join("".join(text.itertext()) for text in texts))


def test_the_spine_is_the_longest_path():
    assert graph(plain).spine == ("x", "z1", "a", "z2", "C")
    assert graph(residual).spine == ("x", "z", "a", "add", "C")
    assert graph(gated).spine == ("x", "z1", "a", "mul", "C")
    many = graph_of(MANY_NEURONS.network)
    assert many and many.spine == ("a_prev", "z", "a", "C")


def test_an_edge_past_values_of_the_spine_is_a_skip():
    assert [(edge.source, edge.target) for edge in graph(residual).skips] == [("x", "add")]
    assert graph(plain).skips == ()


def test_what_is_repeated_stands_there_once():
    drawn = graph(deep)
    assert drawn.spine == ("x", "z1", "a1", "z4", "C") and drawn.repeat == ("z1", "a1", 3)
    assert {edge.source for edge in drawn.edges if edge.target == "z4"} == {"a1", "w4", "b4"}
    assert "w2" not in drawn.dimensions
    assert "|3times|" in f"|{said(chain_picture(of(deep)))}|"


def test_a_side_branch_enters_the_spine():
    drawn = graph(gated)
    assert [edge.source for edge in drawn.entering("mul", along=False)] == ["z2"]
    assert [edge.source for edge in drawn.entering("z2", along=False)] == ["u", "v", "c"]


def test_shapes_and_given_values_are_not_drawn():
    assert set(graph(shaped).dimensions) == {"x", "reshape", "z", "C", "y", "w", "b"}


@pytest.mark.parametrize("network", LISTED)
def test_what_cannot_be_drawn_well_is_a_list_of_its_stages(network):
    declared = of(network)
    assert graph_of(declared.network) is None
    picture = chain_picture(declared)
    assert "the stages, and the gradients" in picture.title
    assert all(f"{each.name} returns ∂C/∂" in picture.description for each in declared.stages)


def test_without_a_network_the_stages_are_listed():
    declared = assignment("Own", [affine, relu])
    marked = chain_picture(declared, report(affine_w="failed", affine_x="passed"))
    assert marked.description == "∂C/∂x of Affine: right. ∂C/∂w of Affine: wrong."
    assert "g*(z>0)" in said(chain_picture(declared, derivatives=True))
    assert "g*(z>0)" not in said(chain_picture(declared))


@pytest.mark.parametrize("network", DRAWN)
def test_edges_of_stages_are_marked_and_others_are_not(network):
    declared = of(network)
    picture = chain_picture(declared, report(affine_w="failed", loss_s="passed"))
    drawn = graph(network)
    wrong = [edge for edge in drawn.edges if edge.check == "affine/gradient/w"]
    for edge in wrong:
        assert f"∂{edge.target}/∂{edge.source}: wrong." in picture.description
    assert picture.description.count(": wrong.") == len(wrong)
    assert picture.description.count(": right.") == 1


@pytest.mark.parametrize("network", DRAWN)
@pytest.mark.parametrize("derivatives", [False, True])
def test_nothing_is_drawn_over_anything_else(network, derivatives):
    from harness.drawing.chain import NOTHING, _label
    from harness.drawing.layout import Layout

    drawn = graph(network)
    blocks = {edge: _label(drawn, edge, derivatives=derivatives) for edge in drawn.edges}
    layout = Layout(drawn, blocks, {}, lifted=derivatives)
    boxes = [
        (x, y - block.height / 2, x + block.width, y + block.height / 2)
        for edge, block in blocks.items()
        if block is not NOTHING
        for x, y in [layout.label_places[edge]]
    ]
    boxes += [
        (x - across, y - down, x + across, y + down)
        for node in layout.nodes.values()
        for (x, y), (across, down) in [(node.centre, node.extent)]
    ]
    for at, one in enumerate(boxes):
        assert one[0] >= 0 and one[1] >= 0
        assert one[2] <= layout.width and one[3] <= layout.height
        for other in boxes[at + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0]
            assert apart or one[3] <= other[1] + 1 or other[3] <= one[1] + 1
