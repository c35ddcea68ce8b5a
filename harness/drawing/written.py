"""What a student wrote for a gradient, as a tag that stands beside its edge."""

from collections.abc import Iterator
from dataclasses import replace

from harness.drawing.mathematics import Block, set_formula, width_of
from harness.drawing.svg import BAD, box, caption
from harness.drawing.widths import sans_width
from harness.expressions.notation import Formula, Piece, upright

WIDEST, MOST_LINES = 132.0, 3
LINE, CAPTION, PADDING = 19.0, 15.0, 5.0
# A formula is not broken after these: they belong to what comes next.
_SIGNS = frozenset("+−·⊙/=<>≤≥≠Σ")


def written_tag(formula: Formula, label: str) -> Block:
    """Return a formula in a frame, under the words "your ``label``".

    What does not fit into three lines ends in an ellipsis; messages and descriptions have all.
    """
    lines = [set_formula(each) for each in broken(formula, WIDEST, MOST_LINES)]
    heading = f"your {label}"
    widest = max(sans_width(heading, 11.5), *(line.width for line in lines))
    width = widest + 2 * PADDING
    height = CAPTION + LINE * len(lines) + 2 * PADDING

    def draw(x: float, middle: float) -> str:
        top, centre = middle - height / 2, x + width / 2
        frame = box(x, top, width, height, rx=4, stroke=BAD, stroke_width=1.2)
        said = caption(centre, top + PADDING + 10, heading, font_size=11.5, text_anchor="middle")
        first = top + PADDING + CAPTION + LINE / 2
        drawn = (line.centred(centre, first + at * LINE) for at, line in enumerate(lines))
        return frame + said + "".join(drawn)

    return Block(width, height, draw)


def broken(formula: Formula, width: float, most: int) -> tuple[Formula, ...]:
    """Break the formula into lines of at most ``width``, before signs if possible.

    If that takes more than ``most`` lines, the last one ends in an ellipsis.
    """
    lines: list[Formula] = []
    for part in _parts(formula, width):
        if lines and width_of(_trimmed((*lines[-1], *part))) <= width:
            lines[-1] = (*lines[-1], *part)
        else:
            lines.append(part)
    made = [_trimmed(line) for line in lines]
    if len(made) <= most:
        return tuple(made)
    return (*made[: most - 1], (*_cut(made[most - 1], width), *upright(" …")))


def _parts(formula: Formula, width: float) -> Iterator[Formula]:
    """Yield what stays together if it fits on a line.

    That is a name with its indices and powers, a sign with what follows it, a bracketed term.
    """
    part: list[Piece] = []
    depth = 0
    for piece in _split(formula, width):
        new = depth == 0 and piece.place == "line" and part and part[-1].text.endswith(" ")
        if (new and not _is_sign(part)) or width_of((*part, piece)) > width:
            yield tuple(part)
            part = []
        part.append(piece)
        depth += piece.text.count("(") - piece.text.count(")")
    if part:
        yield tuple(part)


def _is_sign(part: list[Piece]) -> bool:
    """Return whether this is a sign alone, such as ⊙ or Σ with its index."""
    return "".join(each.text for each in part if each.place == "line").strip() in _SIGNS


def _split(formula: Formula, width: float) -> Iterator[Piece]:
    """Yield the pieces, cut after every space; what is wider than a line is cut anywhere."""
    for piece in formula:
        for word in piece.text.replace(" ", " \0").split("\0"):
            start = 0
            for end in range(2, len(word) + 1):
                # A character that is escaped is as wide as several.
                if width_of((replace(piece, text=word[start:end]),)) > width:
                    yield replace(piece, text=word[start : end - 1])
                    start = end - 1
            if word:
                yield replace(piece, text=word[start:])


def _cut(line: Formula, width: float) -> Formula:
    """Return the line, shortened to leave room for an ellipsis."""
    while line and width_of((*line, Piece(" …"))) > width:
        last = line[-1]
        line = (*line[:-1], replace(last, text=last.text[:-1])) if last.text[1:] else line[:-1]
    return line


def _trimmed(line: Formula) -> Formula:
    """Return the line without spaces at its end."""
    if not line or not line[-1].text.endswith(" "):
        return line
    last = replace(line[-1], text=line[-1].text.rstrip())
    return (*line[:-1], last) if last.text else _trimmed(line[:-1])
