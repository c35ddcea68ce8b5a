"""The submissions that every contender judges: half right, half wrong, made from a seed.

The same count and seed make the same files. No two are alike, and none loops without end.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.styles import (
    CRASHES,
    RIGHT_RETURNS,
    STAGES,
    STYLES,
    WRONG_RETURNS,
    Style,
    plain,
    stub,
)

HANDOUT = "from harness.many_neurons import check, train\n"
UPSTREAMS = ("g", "grad", "grad_output", "upstream", "delta", "dC")
REMARKS = (
    "# chain rule: upstream times the local slope",
    "# see the derivation in my notes",
    "# checked the shapes on paper",
    "# TA said to save what backward needs",
    "# took me a while",
    "",
)


@dataclass(frozen=True)
class Submission:
    """One student's work. ``kind`` says how it is right, or in what it is wrong."""

    name: str
    kind: str
    right: bool
    code: str

    @property
    def module(self) -> str:
        """The file as it is handed in: it begins with what a handout begins with."""
        return f'"""Homework of {self.name}."""\n\n{HANDOUT}{self.code}'


def make_mix(count: int, seed: int = 0) -> list[Submission]:
    """``count`` submissions, half of them right, in a shuffled order."""
    random_ = random.Random(seed)
    rights = [number % 2 == 0 for number in range(count)]
    random_.shuffle(rights)
    return [_submission(random_, number, right) for number, right in enumerate(rights, start=1)]


def make_loops(seed: int = 0) -> list[Submission]:
    """One submission for each stage whose backward never ends."""
    random_ = random.Random(seed)
    return [
        Submission(
            f"loop-{stage.lower()}", "endless-loop", False, _dressed(random_, _looping(stage))
        )
        for stage in STAGES
    ]


def sample_of(mix: list[Submission], count: int) -> list[Submission]:
    """The first of the mix, half of them right, turn by turn."""
    rights = [each for each in mix if each.right]
    wrongs = [each for each in mix if not each.right]
    pairs = zip(rights, wrongs, strict=False)
    return [each for pair in pairs for each in pair][:count]


def write_mix(folder: Path, mix: list[Submission]) -> Path:
    """Writes the submissions as modules into ``folder``, and returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in mix:
        (folder / f"{each.name}.py").write_text(each.module, encoding="utf-8")
    return folder


def _submission(random_: random.Random, number: int, right: bool) -> Submission:
    kind, style = _right(random_) if right else _wrong(random_)
    return Submission(f"student-{number:04}", kind, right, _dressed(random_, style))


def _right(random_: random.Random) -> tuple[str, Style]:
    plain_share = 100 - sum(share for share, _ in STYLES.values())
    kind = random_.choices(
        ["plain", *STYLES], [plain_share, *(share for share, _ in STYLES.values())]
    )[0]
    return kind, STYLES[kind][1] if kind in STYLES else _plain(random_)


def _plain(random_: random.Random) -> Style:
    return Style(
        {stage: plain(stage, random_.choice(RIGHT_RETURNS[stage])) for stage in STAGES}, ""
    )


def _wrong(random_: random.Random) -> tuple[str, Style]:
    how = random_.choices(
        ["one", "two", "stub", "handout", "crash", "syntax"], [56, 20, 10, 4, 6, 4]
    )[0]
    _, style = _right(random_)
    if how == "handout":
        return how, Style({stage: stub(stage) for stage in STAGES})
    stages = random_.sample(STAGES, 2 if how == "two" else 1)
    if how in ("stub", "crash", "syntax"):
        (stage,) = stages
        return how, _with(style, stage, _broken(how, stage))
    mistakes = {stage: random_.choice([*WRONG_RETURNS[stage]]) for stage in stages}
    for stage, mistake in mistakes.items():
        style = _with(style, stage, plain(stage, WRONG_RETURNS[stage][mistake]))
    return "+".join(mistakes.values()), style


def _broken(how: str, stage: str) -> str:
    if how == "stub":
        return stub(stage)
    if how == "crash":
        return plain(stage, CRASHES[stage])
    return plain(stage, RIGHT_RETURNS[stage][0]).replace("def backward(ctx, g):", "def backward(")


def _looping(stage: str) -> Style:
    style = Style({each: plain(each, RIGHT_RETURNS[each][0]) for each in STAGES})
    endless = stub(stage).replace("raise NotImplementedError()", "while True:\n            pass")
    return _with(style, stage, endless)


def _with(style: Style, stage: str, code: str) -> Style:
    return Style({**style.classes, stage: code}, style.above)


def _dressed(random_: random.Random, style: Style) -> str:
    """The code of a style as one student would have it: names, remarks, imports."""
    parts = [style.above] if style.above else []
    for stage in STAGES:
        remark = random_.choice(REMARKS)
        parts.append(f"{remark}\n{style.classes[stage]}" if remark else style.classes[stage])
    code = "\n\n".join(part.strip() + "\n" for part in parts)
    code = re.sub(r"\bg\b", random_.choice(UPSTREAMS), code)
    if random_.random() < 0.5:
        return f"import torch\nfrom torch.autograd import Function\n\n\n{code}"
    return f"import torch\n\n\n{code.replace('(Function)', '(torch.autograd.Function)')}"
