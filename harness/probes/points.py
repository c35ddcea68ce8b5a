"""The points of an assignment that declares none: 10, shared out between its checks."""

from collections.abc import Mapping, Sequence
from fractions import Fraction

TOTAL = 10
TRAINING, CHAIN, WHOLE = Fraction(3, 2), Fraction(1, 10), Fraction(3, 10)
# The chain has a tenth at most, and so has what is neither chain, training nor gradient; it has
# up to a fifth where multiples of 0.05 ask for that.
TENTH, FIFTH = Fraction(1), Fraction(2)
UNITS = (Fraction(1, 20), Fraction(1, 100), Fraction(1, 1000))


# How the points of an optimizer are shared out, in proportion.
OF_OPTIMIZERS = {"update": 10, "settings": 2, "state": 2, "training": 2}


def shared_out(
    ids: Sequence[str],
    required: Sequence[str],
    optimizers: Sequence[str] = (),
    detectives: Sequence[str] = (),
) -> Mapping[str, float]:
    """Return points for the checks ``ids``, of which ``required`` are gradients to be returned.

    Each has some, and they add up to 10; most go to the gradients, in equal parts, or to how an
    optimizer moves parameters. Each of the ``optimizers`` and ``detectives``, by slug, counts as
    one input; the checks of a detective are worth the same. All are multiples of 0.05 unless there
    are too many checks for that.
    """
    inside = [
        [id for id in ids if id.startswith(f"{slug}/")] for slug in (*optimizers, *detectives)
    ]
    others = [id for id in ids if not any(id in each for each in inside)]
    units = int(TOTAL / UNITS[0])
    total = units * len(inside) // (len(inside) + len(required)) if inside else 0
    worth = dict(_of_stages(others, required)) if others else {}
    if inside and others:
        left = float(1 - Fraction(total, units))
        worth = {id: round(points * left, 4) for id, points in worth.items()}
        worth[required[0]] += round(TOTAL * left - sum(worth.values()), 4)
    for at, those in enumerate(inside):
        own = total // len(inside) + (at < total % len(inside))
        if at >= len(optimizers):
            worth |= _equal(own * UNITS[0], those)
            continue
        parts = {id: OF_OPTIMIZERS.get(id.rpartition("/")[2], 1) for id in those}
        each = {id: max(own * part // sum(parts.values()), 1) for id, part in parts.items()}
        each[those[0]] += own - sum(each.values())
        worth |= {id: float(count * UNITS[0]) for id, count in each.items()}
    return worth


def _of_stages(ids: Sequence[str], required: Sequence[str]) -> Mapping[str, float]:
    links = [id for id in ids if id.startswith("chain/")]
    others = [id for id in ids if id not in {*links, *required, "training"}]
    worth: dict[str, Fraction] = {}
    for unit in UNITS:
        worth = {"training": TRAINING} if "training" in ids else {}
        worth |= _parts(links, min(TENTH, CHAIN * len(links) + WHOLE), unit)
        worth |= _parts(others, TENTH, unit)
        if sum(worth[id] for id in [*links, *others]) <= TENTH + FIFTH:
            break
    units = int((TOTAL - sum(worth.values())) / unit)
    each, left = divmod(units, len(required))
    worth |= {id: unit * (each + (at < left)) for at, id in enumerate(required)}
    return {id: float(worth[id]) for id in ids}


def _parts(ids: Sequence[str], total: Fraction, unit: Fraction) -> dict[str, Fraction]:
    """Return equal parts of about the total, a unit at least."""
    return dict.fromkeys(ids, max(total / max(len(ids), 1) // unit, 1) * unit)


def _equal(total: Fraction, ids: Sequence[str]) -> dict[str, float]:
    """Return equal parts of exactly the total, up to a unit, which the last ones may have more."""
    for unit in UNITS:
        each, left = divmod(int(total / unit), len(ids))
        if each:
            break
    return {id: float(unit * (each + (at >= len(ids) - left))) for at, id in enumerate(ids)}
