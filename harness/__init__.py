"""Judge a backward pass that a student wrote: gradients, robustness, and a training end to end.

A handout begins with ``from harness.one_neuron import check, train`` or
``from harness.many_neurons import check, train``.
"""
