"""A network with two residual blocks: each stage is used several times, and paths join again."""

from torch import Tensor
from torch.nn import functional as F

from harness.declare import assignment, classify, labels, stage

linear = stage("Linear", "x[N D], w[K D], b[K] -> z", F.linear)
silu = stage(
    "SiLU",
    "z[N K] -> a",
    F.silu,
    where={"q": "sigmoid(z)"},
    gradients={"z": "g * (q + a * (1 - q))"},
)
loss = stage(
    "SmoothedCrossEntropy",
    "s[N K], y[N], smoothing -> C",
    lambda s, y, smoothing: F.cross_entropy(s, y, label_smoothing=smoothing),
    inputs={"y": labels("K"), "smoothing": [0.0, 0.1]},
    where={"p": "softmax(s, 1)", "t": "(1 - smoothing) * one_hot(y, K).to(s) + smoothing / K"},
    gradients={"s": "g * (p - t) / N"},
)


def net(
    x: Tensor,
    y: Tensor,
    w1: Tensor,
    b1: Tensor,
    w2: Tensor,
    b2: Tensor,
    w3: Tensor,
    b3: Tensor,
    w4: Tensor,
    b4: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return the cost and the scores; what enters a block is added to what it computes."""
    h = linear(x, w1, b1)
    h = h + silu(linear(h, w2, b2))
    h = h + silu(linear(h, w3, b3))
    s = linear(h, w4, b4)
    return loss(s, y, 0.1), s


ASSIGNMENT = assignment(
    "A residual network",
    network=net,
    parameters={"w1": "16 D", "w2": "16 16", "w3": "16 16", "w4": "K 16"},
    train=classify("rings.csv", steps=200, rate=0.2, at_least=0.85),
)
