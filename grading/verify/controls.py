"""Controls: right submissions in odd styles, drawn by combination."""

from collections.abc import Iterator

from grading.verify.equivalents import equivalents_for
from grading.verify.styles import catalogue, styles, written
from harness.course.assignment import Assignment


def controls_for(assignment: Assignment) -> Iterator[tuple[str, str]]:
    """Yield what each control is, and its code, which follows on the solution.

    Every style occurs in every stage, together with different equivalents and other styles.
    """
    names, around, stages = list(styles()), list(catalogue().frame), assignment.stages
    known = {stage.name: list(equivalents_for(assignment.name, stage).items()) for stage in stages}
    count = max(len(names), *map(len, known.values()))
    stride = len(names) // (len(stages) + 1)
    for number in range(count):
        frame = catalogue().frame[name := around[number % len(around)]]
        code, said = catalogue().head + frame.above.replace("«Name»", stages[0].name), []
        code += "".join(f"Solved{stage.name} = {stage.name}\n" for stage in stages) + "\n"
        for at, stage in enumerate(stages):
            style = names[(number + at * stride) % len(names)]
            formulas = known[stage.name]
            how, equivalent = formulas[(number + number // len(formulas)) % len(formulas)]
            code += written(stage, equivalent, style) + "\n\n"
            said.append(f"{stage.name}: {how}, {style}")
        yield (
            "; ".join([*said, f"around them: {name}"]),
            code + frame.below.replace("«Name»", stages[0].name),
        )
