"""Sigmoid networks as chains of stages: one neuron a layer, or whole layers at once."""

from torch import Tensor

from harness.candidate.operations import Link
from harness.training.task import Network


def layer_links(layers: int, tag: str = "") -> tuple[Link, ...]:
    """Return the links of ``layers`` layers: a0 → z1 → a1 → … → C.

    Weights and biases are w1, b1, w2 … for every sample; ``tag`` makes the other names
    differ from sample to sample.
    """
    links: list[Link] = []
    for layer in range(1, layers + 1):
        z, a = f"z{layer}{tag}", f"a{layer}{tag}"
        inputs = (f"a{layer - 1}{tag}", f"w{layer}", f"b{layer}")
        links += [Link("WeightedSum", inputs, (z,)), Link("Sigmoid", (z,), (a,))]
    return (*links, Link("SquaredError", (f"a{layers}{tag}", f"y{tag}"), (f"C{tag}",)))


def batch_network(layers: int, inputs: Tensor, targets: Tensor) -> Network:
    """Return a network for a whole batch: inputs (N, n_0), targets (N, K), one cost."""
    return Network(layer_links(layers), {"a0": inputs, "y": targets}, ("C",), (f"a{layers}",))


def sample_network(layers: int, inputs: Tensor, targets: Tensor) -> Network:
    """Return a chain of single neurons for each sample: inputs (N,), targets (N,)."""
    tags = [f"_{number}" for number in range(len(inputs))]
    links = tuple(link for tag in tags for link in layer_links(layers, tag))
    tensors = {f"a0{tag}": value for tag, value in zip(tags, inputs, strict=True)}
    tensors |= {f"y{tag}": value for tag, value in zip(tags, targets, strict=True)}
    costs = tuple(f"C{tag}" for tag in tags)
    return Network(links, tensors, costs, tuple(f"a{layers}{tag}" for tag in tags))
