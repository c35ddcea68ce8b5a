"""Cases to judge: those of the solution in other forms, and others that are too tame, or no use."""

from __future__ import annotations

from collections.abc import Iterator

from grading.parsing.source import read_source
from grading.sandbox import Spawner
from grading.sandbox.remote import RemoteCandidate
from grading.verify.case import Case, Solution
from harness.cases.exhibits import DetectiveContext
from harness.course.assignment import Assignment
from harness.course.detective import Detective
from harness.course.settings import Limits

_FRAME = '''
import numpy
import torch

solved_«name» = «name»


def numbers(value):
    if isinstance(value, (list, tuple)):
        return torch.stack([numbers(each) for each in value])
    return torch.as_tensor(value, dtype=torch.float64)


def in_tuples(value):
    return tuple(map(in_tuples, value)) if isinstance(value, list) else value


def one_hot(value):
    return (torch.arange(value.numel()) == value.numel() - 1).double().reshape(value.shape)


def changed(new, names=«names»):
    def value(key, each):
        return new(numbers(each)) if key in names and each is not None else each

    return [{key: value(key, case[key]) for key in case} for case in solved_«name»()]


def «name»():
    """Return cases."""
    return «cases»
'''
# Values in any form are right, and so is any way to return cases.
_RIGHT = {
    "in tensors": "changed(lambda x: x)",
    "in tensors that require a gradient": "changed(lambda x: x.clone().requires_grad_())",
    "in float32": "changed(lambda x: x.float())",
    "in arrays": "changed(lambda x: x.numpy())",
    "in tuples": "changed(lambda x: in_tuples(x.tolist()))",
    "one by one": "(each for each in solved_«name»())",
}
_WRONG = {
    "no case": "[]",
    "one case": "list(solved_«name»())[:1]",
    "too many cases": "list(solved_«name»()) * «too_many»",
    "nothing but ones": "changed(torch.ones_like)",
    "nothing but zeros": "changed(torch.zeros_like)",
    "upstreams of ones": "changed(torch.ones_like, «upstreams»)",
    "upstreams of gradcheck": "changed(one_hot, «upstreams»)",
    "tiny upstreams": "changed(lambda x: x * 1e-9, «upstreams»)",
    "huge numbers": "changed(lambda x: x * 1e12)",
    "not finite": "changed(lambda x: x * torch.nan)",
    "of another shape": "changed(lambda x: x.expand(2, 1, *x.shape))",
    "in text": "changed(str)",
    "no dictionaries": "[list(case.values()) for case in solved_«name»()]",
    "other names": "[{key + '_': each for key, each in case.items()} for case in solved_«name»()]",
}


def detective_controls(assignment: Assignment) -> Iterator[tuple[str, str]]:
    """Yield what is different about the solution's cases, and the code, for each way."""
    for detective in assignment.detectives:
        for how, cases in _RIGHT.items():
            yield f"{detective.name}: {how}", _text(detective, cases)
        listed = f"\n{detective.name} = list({detective.name}())\n"
        yield f"{detective.name}: a list in its place", listed


def detective_mutants(
    assignment: Assignment, solution: Solution, spawner: Spawner, limits: Limits
) -> Iterator[Case]:
    """Yield wrong cases; those that expose everything after all are said to be right."""
    for detective in assignment.detectives:
        for how, cases in _WRONG.items():
            name, slug = f"mistake {detective.slug}/{how}", detective.slug
            data = solution.followed_by(_text(detective, cases))
            source = read_source(solution.name, data)
            with RemoteCandidate(spawner, source, limits) as remote:
                same = "it exposes all" if _exposes_all(detective, remote) else None
            yield Case(name, "mistake", solution.suffix, data, how, slug, same=same)


def _exposes_all(detective: Detective, remote: RemoteCandidate) -> bool:
    context = DetectiveContext(detective, remote)
    wrong = filter(None, (*detective.shown, *detective.hidden))
    used = len(context.exhibits) == len(context.read) and not context.too_many
    fair = not any(each.unfair for each in context.exhibits)
    return used and fair and all(context.exposure(each.gradients) for each in wrong)


def _text(detective: Detective, cases: str) -> str:
    stage = detective.stage
    upstreams = repr(list(stage.upstreams))
    real = [name for name, each in stage.inputs.items() if each.kind.is_real]
    text = _FRAME.replace("«cases»", cases).replace("«name»", detective.name)
    text = text.replace("«names»", repr([*real, *stage.upstreams])).replace(
        "«upstreams»", upstreams
    )
    return text.replace("«too_many»", str(detective.cases + 1))
