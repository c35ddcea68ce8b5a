"""Right manners to write a Function class, whatever it computes.

A manner is a text with gaps: ``«Name»``, ``«inputs»``, ``«output»``, ``«saves»`` (with its last
comma), ``«returns»`` (likewise), ``«count»`` (of the inputs), and, on a line of their own,
``«forward»`` and ``«backward»``, which keep the indentation they stand at. ``«needed»`` are the
returns, each only if it is needed; ``«each:…»`` repeats its text for each return, with ``_``.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping

from grading.verify.equivalents import Way
from harness.course.stage import Stage


def written(stage: Stage, way: Way, manner: str) -> str:
    """The stage as a class, computed in ``way`` and written in the manner of that name."""
    blocks = {"«forward»": way.forward, "«backward»": way.backward or "pass"}
    lines = [
        textwrap.indent(blocks[line.strip()], line[: len(line) - len(line.lstrip())])
        if line.strip() in blocks
        else line
        for line in MANNERS[manner].strip("\n").splitlines()
    ]
    text = "\n".join(lines)
    text = re.sub(r"«each:(.*?)»", lambda match: _each(way, match[1]), text)
    gaps = {
        "Name": stage.name,
        "name": stage.name.lower(),
        "inputs": ", ".join(stage.inputs),
        "output": stage.output,
        "saves": ", ".join(way.saves) + ",",
        "returns": ", ".join(way.returns) + ",",
        "needed": _needed(way),
        "count": str(len(stage.inputs)),
    }
    return re.sub(r"«(\w+)»", lambda match: gaps[match[1]], text) + "\n"


def _needed(way: Way) -> str:
    return ", ".join(
        f"({value}) if ctx.needs_input_grad[{at}] else None" for at, value in enumerate(way.returns)
    )


def _each(way: Way, pattern: str) -> str:
    return ", ".join(_in_gap(pattern, value) for value in way.returns) + ","


def _in_gap(pattern: str, value: str) -> str:
    return value if value == "None" else re.sub(r"\b_\b", lambda _: f"({value})", pattern)


PLAIN = """
class «Name»(Function):
    @staticmethod
    def forward(ctx, «inputs»):
        «forward»
        ctx.save_for_backward(«saves»)
        return «output»

    @staticmethod
    def backward(ctx, g):
        «saves» = ctx.saved_tensors
        «backward»
        return «returns»
"""


def _instead(old: str, new: str, *, of: str = PLAIN) -> str:
    assert old in of
    return of.replace(old, new)


def _returning(pattern: str) -> str:
    return _instead("return «returns»", f"return «each:{pattern}»")


def _before(lines: str) -> str:
    """The plain class with ``lines`` at the head of backward."""
    unpack = "«saves» = ctx.saved_tensors"
    block = textwrap.indent(textwrap.dedent(lines).strip(), " " * 8).strip()
    return _instead(unpack, f"{block}\n        {unpack}")


SETUP = """
class «Name»(Function):
    @staticmethod
    def forward(«inputs»):
        «forward»
        return «output»

    @staticmethod
    def setup_context(ctx, inputs, output):
        «inputs», = inputs
        «forward»
        ctx.save_for_backward(«saves»)

    @staticmethod
    def backward(ctx, g):
        «saves» = ctx.saved_tensors
        «backward»
        return «returns»
"""

FUNCTIONS = """
def «name»_forward(ctx, «inputs»):
    «forward»
    ctx.save_for_backward(«saves»)
    return «output»


def «name»_backward(ctx, g):
    «saves» = ctx.saved_tensors
    «backward»
    return «returns»

"""

MANNERS: Mapping[str, str] = {
    "plain": PLAIN,
    "setup_context": SETUP,
    "setup_context for vmap": _instead(
        "class «Name»(Function):",
        "class «Name»(Function):\n    generate_vmap_rule = True\n",
        of=SETUP,
    ),
    "once_differentiable": "from torch.autograd.function import once_differentiable\n\n"
    + _instead("def backward", "@once_differentiable\n    def backward"),
    "setup_context, once_differentiable": (
        "from torch.autograd.function import once_differentiable\n\n"
        + _instead("def backward", "@once_differentiable\n    def backward", of=SETUP)
    ),
    "only what is needed": _instead("return «returns»", "return «needed»,"),
    "needed, setup_context": _instead("return «returns»", "return «needed»,", of=SETUP),
    "needed, one by one": _instead(
        "return «returns»",
        "values = [None] * «count»\n"
        "        for at, value in enumerate((«returns»)):\n"
        "            if ctx.needs_input_grad[at]:\n"
        "                values[at] = value\n"
        "        return tuple(values)",
    ),
    "nothing if nothing is needed": _before(
        """
        if not any(ctx.needs_input_grad):
            return (None,) * «count»
        """
    ),
    "kept on ctx": _instead(
        "«saves» = ctx.saved_tensors",
        "«saves» = ctx.kept",
        of=_instead("ctx.save_for_backward(«saves»)", "ctx.kept = («saves»)"),
    ),
    "a dict on ctx": _instead(
        "«saves» = ctx.saved_tensors",
        "«saves» = ctx.memory['saved']",
        of=_instead("ctx.save_for_backward(«saves»)", "ctx.memory = {'saved': («saves»)}"),
    ),
    "a dataclass on ctx": "import dataclasses\n\n\n"
    "@dataclasses.dataclass\nclass Kept:\n    values: tuple\n\n\n"
    + _instead(
        "«saves» = ctx.saved_tensors",
        "«saves» = ctx.kept.values",
        of=_instead("ctx.save_for_backward(«saves»)", "ctx.kept = Kept((«saves»))"),
    ),
    "more saved than needed": _instead(
        "«saves» = ctx.saved_tensors",
        "*_, nothing = ctx.saved_tensors\n        «saves» = ctx.saved_tensors[: -2]",
        of=_instead(
            "ctx.save_for_backward(«saves»)", "ctx.save_for_backward(«saves» «output», None)"
        ),
    ),
    "computed again": _instead(
        "«saves» = ctx.saved_tensors",
        "«inputs», = ctx.saved_tensors\n        «forward»",
        of=_instead("ctx.save_for_backward(«saves»)", "ctx.save_for_backward(«inputs»)"),
    ),
    "a base class": _instead("class «Name»", "class Base«Name»")
    + "\n\nclass «Name»(Base«Name»):\n    '''What it does, its base class knows.'''\n",
    "a chain of classes": _instead("class «Name»", "class Base«Name»")
    + "\n\nclass Middle«Name»(Base«Name»):\n    pass\n\n\n"
    "class «Name»(Middle«Name»):\n"
    "    @staticmethod\n"
    "    def backward(ctx, g):\n"
    "        return super(«Name», «Name»).backward(ctx, g)\n",
    "a mixin": _instead("class «Name»(Function)", "class «Name»Mixin")
    + "\n\nclass «Name»(«Name»Mixin, Function):\n    pass\n",
    "a registry": "REGISTRY = {}\n\n\n"
    "class Registered«Name»(Function):\n"
    "    def __init_subclass__(cls, **more):\n"
    "        super().__init_subclass__(**more)\n"
    "        REGISTRY[cls.__name__] = cls\n\n\n" + _instead("(Function)", "(Registered«Name»)"),
    "generic": "from typing import Generic, TypeVar\n\nT = TypeVar('T')\n\n\n"
    + _instead("(Function)", "(Function, Generic[T])"),
    "a helper": """
def «name»_gradients(g, «saves»):
    «backward»
    return «returns»


class «Name»(Function):
    @staticmethod
    def forward(ctx, «inputs»):
        «forward»
        ctx.save_for_backward(«saves»)
        return «output»

    @staticmethod
    def backward(ctx, g):
        return «name»_gradients(g, *ctx.saved_tensors)
""",
    "functions put in": FUNCTIONS
    + """
class «Name»(Function):
    forward = staticmethod(«name»_forward)
    backward = staticmethod(«name»_backward)
""",
    "functions put in later": FUNCTIONS
    + '''
class «Name»(Function):
    """Its functions follow."""


«Name».forward = staticmethod(«name»_forward)
«Name».backward = staticmethod(«name»_backward)
''',
    "made by type": FUNCTIONS
    + """
«Name» = type(
    "«Name»",
    (Function,),
    dict(forward=staticmethod(«name»_forward), backward=staticmethod(«name»_backward)),
)
""",
    "lambdas": FUNCTIONS
    + """
class «Name»(Function):
    forward = staticmethod(lambda ctx, *inputs: «name»_forward(ctx, *inputs))
    backward = staticmethod(lambda ctx, *g: «name»_backward(ctx, *g))
""",
    "partial": "import functools\n\n"
    + FUNCTIONS
    + """
def with_note(note, function, ctx, *given):
    ctx.note = note
    return function(ctx, *given)


class «Name»(Function):
    forward = staticmethod(functools.partial(with_note, "there", «name»_forward))
    backward = staticmethod(functools.partial(with_note, "back", «name»_backward))
""",
    "made in a function": "def make_«name»():\n"
    + textwrap.indent(PLAIN.strip("\n"), "    ")
    + "\n\n    return «Name»\n\n\n«Name» = make_«name»()\n",
    "inside another class": "class Layers:\n"
    + textwrap.indent(PLAIN.strip("\n"), "    ")
    + "\n\n\n«Name» = Layers.«Name»\n",
    "written twice": "class «Name»(Function):\n"
    "    @staticmethod\n    def forward(ctx, *inputs):\n        return inputs[0] * 2\n\n"
    "    @staticmethod\n    def backward(ctx, g):\n        return g\n\n\n# A second try.\n" + PLAIN,
    "decorated": "import functools\n\n\n"
    "def noted(function):\n"
    "    @functools.wraps(function)\n"
    "    def inner(*given):\n"
    "        noted.calls += 1\n"
    "        return function(*given)\n\n"
    "    return inner\n\n\n"
    "noted.calls = 0\n\n" + PLAIN.replace("@staticmethod\n", "@staticmethod\n    @noted\n"),
    "no_grad": _instead(
        "@staticmethod\n    def backward", "@staticmethod\n    @torch.no_grad()\n    def backward"
    ),
    "without staticmethod": PLAIN.replace("    @staticmethod\n", ""),
    "classmethods": PLAIN.replace("@staticmethod", "@classmethod").replace("(ctx,", "(cls, ctx,"),
    "vjp": _instead("def backward", "def vjp"),
    "nothing filled in": _instead(
        "ctx.save_for_backward",
        "ctx.set_materialize_grads(False)\n        ctx.save_for_backward",
        of=_before(
            """
            if g is None:
                return (None,) * «count»
            """
        ),
    ),
    "type hints": PLAIN.replace(
        "(ctx, g):", "(ctx: 'FunctionCtx', g: torch.Tensor) -> 'tuple':"
    ).replace("(ctx, «inputs»):", "(ctx: 'FunctionCtx', «inputs») -> torch.Tensor:"),
    "prints": _before("print('backward of «Name»', tuple(g.shape), g)"),
    "warns": "import warnings\n\n" + _before("warnings.warn('backward of «Name»')"),
    "asserts": _instead(
        "return «returns»",
        "values = («returns»)\n"
        "        assert len(values) == «count»\n"
        "        assert all(value is None or value.isfinite().all() for value in values)\n"
        "        return values",
    ),
    "upstreams in a star": _instead(
        "(ctx, g):", "(ctx, *upstreams):", of=_before("(g,) = upstreams")
    ),
    "grad_output": _instead("(ctx, g):", "(ctx, grad_output):", of=_before("g = grad_output")),
    "inputs in a star": _instead(
        "def forward(ctx, «inputs»):", "def forward(ctx, *args):\n        «inputs», = args"
    ),
    "saved by number": _instead(
        "«saves» = ctx.saved_tensors",
        "saved = ctx.saved_tensors\n        «saves» = (saved[at] for at in range(len(saved)))",
    ),
    "a named tuple": "import collections\n\n"
    "fields = [f'g{at}' for at in range(«count»)]\n"
    "«Name»Gradients = collections.namedtuple('«Name»Gradients', fields)\n\n"
    + _instead("return «returns»", "return «Name»Gradients(«returns»)"),
    "a tuple of a list": _instead("return «returns»", "return tuple([«returns»])"),
    "a tuple of a generator": _instead("return «returns»", "return tuple(v for v in («returns»))"),
    "extra axes": _returning("_[None]"),
    "one None too many": _instead("return «returns»", "return «returns» None"),
    "expanded": _returning("_.expand(_.shape)"),
    "transposed in memory": _returning("turned(_)") + "\n\ndef turned(value):\n"
    "    return value.T.contiguous().T if value.dim() == 2 else value\n",
    "every second number": _returning("torch.stack([_, _], -1)[..., 1]"),
    "a part of more": _returning("torch.cat([_[None], _[None]])[1]"),
    "clones": _returning("_.clone().detach()"),
    "contiguous": _before("g = g.contiguous()"),
    "a copy of g worked on": _before("g = g.clone()\ng += 1\ng -= 1\ng *= 2\ng /= 2"),
    "own result worked on": _returning("_.clone().mul_(2).div_(2)"),
    "through numpy": _returning("torch.from_numpy(np.array(_.numpy()))"),
    "through lists": _returning("torch.tensor(_.tolist(), dtype=g.dtype)"),
    "float64 constants": _returning("_ * torch.tensor(1.0, dtype=torch.float64)"),
    "double made sure": _before("g = g.double()"),
    "added to zeros": _returning("torch.zeros(_.shape, dtype=_.dtype).add_(_)"),
    "nan_to_num": _returning("torch.nan_to_num(_)"),
    "a walrus": _before("if (dimensions := g.dim()) > 2:\n    raise ValueError(dimensions)"),
    "a match": _before(
        "match g.dim():\n    case 0 | 1 | 2:\n        pass\n    case _:\n        raise ValueError"
    ),
    "try and finally": _instead(
        "        «backward»\n        return «returns»",
        "        try:\n            «backward»\n            return «returns»\n"
        "        finally:\n            del ctx",
    ),
    "a counter in the class": _instead(
        "(Function):", "(Function):\n    calls = 0\n", of=_before("«Name».calls += 1")
    ),
    "a log of shapes": "SEEN_BY_«Name» = []\n\n" + _before("SEEN_BY_«Name».append(tuple(g.shape))"),
    "jvp too": PLAIN + "\n    @staticmethod\n"
    "    def jvp(ctx, *tangents):\n"
    "        raise NotImplementedError('forward mode is not asked for')\n",
    "symbols": "π = 3\n\n"
    + _instead("        return «returns»", "        δ = («returns»)\n        return δ"),
    "the long way to Function": "import torch.autograd as ag\n\n"
    + _instead("(Function)", "(ag.Function)"),
    "documented": _instead(
        "(Function):",
        '(Function):\n    """«Name», with its gradients.\n\n    >>> 1 + 1\n    2\n    """\n',
    ),
    "an unused class member": _instead(
        "(Function):", "(Function):\n    scale: float = 0.1\n    name = '«Name»'\n"
    ),
}
