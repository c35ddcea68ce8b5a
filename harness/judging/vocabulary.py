"""The words that testimony may use, on the judge's side: whatever else is told is dropped."""

from __future__ import annotations

from functools import lru_cache

import torch

from harness.candidate.introspection.reading import FRAMES, MODULES, NAMED

FINITE = ("a difference quotient", "the difference of two nearly equal values")
KEPT = "a tensor kept for built-in autograd"
_OWN = frozenset({*FINITE, KEPT, "grad_fn", *FRAMES, *MODULES, *NAMED.values()})


def is_word(what: str) -> bool:
    """Return whether it is a phrase of the harness, or a function or an operator of torch's."""
    package, _, name = what.partition(".")
    return (
        what in _OWN
        or what in _operators()
        or (package == "torch" and f"aten.{name}" in _operators())
    )


def is_node(name: str) -> bool:
    """Return whether it is the name of one of built-in autograd's own functions."""
    return not name.startswith("_") and hasattr(torch._C._functions, name)


@lru_cache(maxsize=1)
def _operators() -> frozenset[str]:
    """The operators of this process's torch, with and without what tells their overloads apart."""
    names = [name.replace("::", ".") for name in torch._C._dispatch_get_all_op_names()]
    return frozenset({*names, *(".".join(name.split(".")[:2]) for name in names)})
