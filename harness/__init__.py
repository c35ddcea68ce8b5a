"""Judge a backward pass that a student wrote: gradients, robustness, and a training end to end.

A handout begins with ``from harness.one_neuron import check, train``, or with another chapter's
module: each whose docstring begins with its number comes with the package.
"""
