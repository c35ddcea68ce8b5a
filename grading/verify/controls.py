"""Controls: right submissions in odd styles, drawn by combination."""

from collections.abc import Iterator

from grading.verify.detective import detective_controls
from grading.verify.equivalents import equivalents_for
from grading.verify.optimizers import optimizer_controls
from grading.verify.pairs import frame_of
from grading.verify.styles import catalogue, styles_for, written
from harness.course.assignment import Assignment


def controls_for(assignment: Assignment) -> Iterator[tuple[str, str]]:
    """Yield what each control is, and its code, which follows on the solution.

    Every style occurs in every stage, together with different equivalents and other styles.
    """
    yield from optimizer_controls(assignment)
    yield from detective_controls(assignment)
    around, stages = list(catalogue().frame), assignment.stages
    if not stages:
        return
    names = {stage.name: list(styles_for(stage)) for stage in stages}
    known = {stage.name: list(equivalents_for(assignment.name, stage).items()) for stage in stages}
    count = max(max(len(names[name]), len(known[name])) for name in names)
    stride = count // (len(stages) + 1)
    for number in range(count):
        frame = catalogue().frame[name := around[number % len(around)]]
        code, said = catalogue().head + frame.above.replace("«Name»", stages[0].name), []
        for stage in stages:
            code += frame_of(stage)[0] + f"Solved{stage.name} = {stage.name}\n\n"
        for at, stage in enumerate(stages):
            style = names[stage.name][(number + at * stride) % len(names[stage.name])]
            formulas = known[stage.name]
            how, equivalent = formulas[(number + number // len(formulas)) % len(formulas)]
            code += written(stage, equivalent, style) + frame_of(stage)[1] + "\n\n"
            said.append(f"{stage.name}: {how}, {style}")
        yield (
            "; ".join([*said, f"around them: {name}"]),
            code + frame.below.replace("«Name»", stages[0].name),
        )
