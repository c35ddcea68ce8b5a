"""Write the data that the networks among the examples are trained on: ``python make_data.py``."""

from pathlib import Path

import numpy as np

HERE = Path(__file__).parent / "solutions"
Rows = tuple[np.ndarray, ...]


def spirals(random: np.random.Generator) -> Rows:
    """Return 300 points on three arms of a spiral, and which arm each is on."""
    label = np.arange(300) % 3
    radius = np.sqrt(random.uniform(0.02, 1, 300))
    angle = 4 * radius + 2 * np.pi / 3 * label + random.normal(0, 0.15, 300)
    return 2 * radius * np.cos(angle), 2 * radius * np.sin(angle), label


def rings(random: np.random.Generator) -> Rows:
    """Return 300 points in three rings around the origin, and which ring each is in."""
    label = np.arange(300) % 3
    radius = 0.3 + 0.7 * label + random.normal(0, 0.12, 300)
    angle = random.uniform(0, 2 * np.pi, 300)
    return radius * np.cos(angle), radius * np.sin(angle), label


def waves(random: np.random.Generator) -> Rows:
    """Return 240 places from -2 to 2, and the noisy height of a wave there."""
    x = random.uniform(-2, 2, 240)
    return x, np.sin(2 * x) + random.normal(0, 0.1, 240)


def main() -> None:
    """Write each table beside the assignment that uses it, with a row of column names."""
    for assignment, rows, names in (
        ("relu-network/spirals", spirals, "x1,x2,label"),
        ("residual-network/rings", rings, "x1,x2,label"),
        ("curve-fitting/waves", waves, "x,y"),
    ):
        table = np.column_stack(rows(np.random.default_rng(0)))
        formats = ["%d" if name == "label" else "%.4f" for name in names.split(",")]
        np.savetxt(HERE / f"{assignment}.csv", table, formats, ",", header=names, comments="")


if __name__ == "__main__":
    main()
