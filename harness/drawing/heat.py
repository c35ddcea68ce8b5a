"""How sensitive the cost is to each entry of whole matrices, as maps of signed marks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.drawing.mathematics import set_formula
from harness.drawing.svg import DOWN, UP, Picture, Point, caption, element, line, picture
from harness.expressions.notation import symbol
from harness.language import tr

Matrix = Sequence[Sequence[float]]
WIDTH = 408.0
CELL, GAP, HEAD = 5.0, 8.0, 24.0
MARGIN = 8.0


def heat_picture(
    matrices: Mapping[str, Matrix],
    title: str = tr("How sensitive the cost is to each parameter"),
    *,
    tiles: tuple[int, int] | None = None,
    meanings: tuple[str, str] = (tr("more of it raises C"), tr("more of it lowers C")),
) -> Picture:
    """Draw a map of each matrix: upright bars for positive entries, lying ones for negative ones.

    The larger the mark, the larger the entry; the largest of each matrix fills its cell, and is
    written beside the matrix's name. ``meanings`` says what the two signs mean. ``tiles`` is the
    height and width at which to lay the rows of the first matrix out, where each belongs to the
    pixels of an image. Raise ValueError if there are no values, or one is not finite.
    """
    if not matrices or not all(rows and all(rows) for rows in matrices.values()):
        raise ValueError("there are no values to draw")
    for name, rows in matrices.items():
        if not all(math.isfinite(value) for row in rows for value in row):
            raise ValueError(f"a value of {name} is not finite")
    first = next(iter(matrices))
    maps = [_laid(name, rows, tiles if name == first else None) for name, rows in matrices.items()]
    placed, bottom = _placed(maps)
    drawn = [caption(MARGIN, 20, title, font_size=14, font_weight="bold")]
    for each, (x, y) in placed:
        drawn += each.draw(x, y)
    return picture(
        [*drawn, *_key(bottom + 18, meanings)],
        WIDTH,
        bottom + 44,
        title=title,
        description=tr("Upright bars: {upright}. Lying bars: {lying}. ").format(
            upright=meanings[0], lying=meanings[1]
        )
        + "; ".join(each.description for each in maps),
        zoom=1.6,
    )


@dataclass(frozen=True)
class _Map:
    """A matrix as cells: each value with its column and row, which may leave gaps."""

    name: str
    cells: tuple[tuple[float, float, float], ...]
    width: float
    height: float
    most: float

    @property
    def description(self) -> str:
        """The map in words."""
        up = sum(value > 0 for *_, value in self.cells)
        down = sum(value < 0 for *_, value in self.cells)
        return tr("{name}: {up} upright, {down} lying, up to {most:.2g}").format(
            name=self.name, up=up, down=down, most=self.most
        )

    @property
    def is_vector(self) -> bool:
        """True if it is one row only."""
        return self.height <= CELL

    @property
    def room(self) -> float:
        """The width of the map with its heading."""
        return max(self.width, 92.0)

    def draw(self, x: float, y: float) -> Iterator[str]:
        """Yield the heading at the top, the frame and the marks below it."""
        name = set_formula(symbol(self.name))
        yield name.draw(x, y + 10)
        yield caption(
            x + name.width + 6, y + 15, tr("up to {most:.2g}").format(most=self.most), font_size=12
        )
        top = y + HEAD
        for ends in (((x, top), (x + self.width, top)), ((x, top), (x, top + self.height))):
            yield line(*ends, stroke_width=0.6, stroke_opacity=0.6)
        for sign, colour in ((1, UP), (-1, DOWN)):
            path = "".join(
                _mark(x + column, top + row, abs(value) / self.most, sign)
                for column, row, value in self.cells
                if value * sign > 0
            )
            if path:
                yield element("path", d=path, fill=colour)


def _mark(x: float, y: float, share: float, sign: int) -> str:
    """Draw an upright or a lying bar of the same ink, in a cell whose corner is at (x, y)."""
    # Less than in proportion, so that entries far below the largest are still seen.
    long = max((CELL - 0.2) * share**0.4, 0.5)
    wide, high = (0.6 * long, long) if sign > 0 else (long, 0.6 * long)
    left, top = x + (CELL - wide) / 2, y + (CELL - high) / 2
    return f"M{left:.1f} {top:.1f}h{wide:.1f}v{high:.1f}h-{wide:.1f}z"


def _laid(name: str, rows: Matrix, tiles: tuple[int, int] | None) -> _Map:
    """Lay the rows out one below the other, or each as a tile, as many abreast as there is room."""
    if tiles is None or any(len(row) != tiles[0] * tiles[1] for row in rows):
        tiles = (1, max(map(len, rows)))
        high, wide, across = CELL, tiles[1] * CELL, 1
        gap = 0.0
    else:
        high, wide = ((size + 1) * CELL for size in tiles)
        across = max(int((WIDTH - 2 * MARGIN + CELL) // wide), 1)
        gap = CELL
    cells = tuple(
        (
            at % across * wide + pixel % tiles[1] * CELL,
            at // across * high + pixel // tiles[1] * CELL,
            value,
        )
        for at, row in enumerate(rows)
        for pixel, value in enumerate(row)
    )
    width = min(across, len(rows)) * wide - gap
    height = -(-len(rows) // across) * high - gap
    return _Map(name, cells, width, height, max(abs(value) for *_, value in cells) or 1.0)


def _placed(maps: Sequence[_Map]) -> tuple[list[tuple[_Map, Point]], float]:
    """Place the maps in rows that fill the width; return also where the last row ends.

    Vectors stand one below the other beside a matrix that is high enough.
    """
    placed: list[tuple[_Map, Point]] = []
    x, y, lowest = MARGIN, 34.0, 34.0
    for each in maps:
        if placed and each.is_vector and placed[-1][0].is_vector:
            before, (left, top) = placed[-1]
            below = top + HEAD + before.height + GAP
            if below + HEAD + each.height <= lowest:
                placed.append((each, (left, below)))
                continue
        if x > MARGIN and x + each.room > WIDTH - MARGIN:
            x, y = MARGIN, lowest + 2 * GAP
        placed.append((each, (x, y)))
        x += each.room + GAP
        lowest = max(lowest, y + HEAD + each.height)
    return placed, lowest


def _key(y: float, meanings: tuple[str, str]) -> Iterator[str]:
    up, down = meanings
    yield element("path", d=f"M{MARGIN} {y - 5}h6v10h-6z", fill=UP)
    yield caption(MARGIN + 16, y + 4.5, f"upright: {up}")
    middle = WIDTH / 2
    yield element("path", d=f"M{middle} {y - 3}h10v6h-10z", fill=DOWN)
    yield caption(middle + 16, y + 4.5, f"lying: {down}")
