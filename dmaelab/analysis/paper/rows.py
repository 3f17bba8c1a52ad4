"""From measurements to the rows of one of the paper's tables: which share a row, in which order, with which entries."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from dmaelab.analysis.paper.measurements import Measurement, check_alike, check_same_row
from dmaelab.analysis.paper.published import printed_rows
from dmaelab.analysis.paper.specs import MODEL, Facts, Spec, leading_cells, sigma_text
from dmaelab.analysis.summary import radius_name
from dmaelab.records.readers import Log
from dmaelab.stats.intervals import proportion_interval
from dmaelab.utils.errors import UserError

Key = tuple[tuple[str, Any], ...]
"""The labels that the logs of one row share, sorted by name: ``dict(key)`` are the facts of the row."""


@dataclass(frozen=True)
class Cell:
    """An entry: certified accuracy of one model at one sigma and radius.

    Attributes:
        share: certified accuracy in [0, 1], the mean over seeds.
        spread: standard deviation over seeds (ddof 1); None for one seed.
        zero: n samples can certify no image at this radius, whatever the model.
        exact: False where a sequential certification did not sample for this radius. Then the share is a lower bound.
        measured: what it was computed from, one measurement for each seed; none for printed figures.
        counts: images certified, of each measurement.
        interval: 95 % interval of the share, where it was asked for and there is one seed.
    """

    share: float
    spread: float | None = None
    zero: bool = False
    exact: bool = True
    measured: tuple[Measurement, ...] = ()
    counts: tuple[int, ...] = ()
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        lead: text of the leading columns.
        cells: one for each radius, None where there is no figure.
        base: position of the row to which the gaps of this one are; None for no gaps.
        facts: labels that its logs share; none for printed rows.
        measured: of all its logs, also of those that are the best at no radius.
        printed: the row is copied from the paper, not measured.
    """

    lead: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    base: int | None = None
    facts: Facts = field(default_factory=dict)
    measured: tuple[Measurement, ...] = ()
    printed: bool = False


def paper_rows(spec: Spec, radii: Sequence[float]) -> list[Row]:
    """Return what the paper prints in a table, at those of the radii that it has."""
    rows = []
    for place, printed in enumerate(printed_rows(spec.number)):
        figures = zip(spec.radii, printed.shares, printed.zeros, strict=True)
        known = {radius: Cell(share, zero=zero) for radius, share, zero in figures if share is not None}
        base = place - 1 if spec.gaps_over and place % 2 else None  # the paper states gaps in pairs of rows
        rows.append(Row(printed.lead, tuple(known.get(radius) for radius in radii), base, printed=True))
    return rows


def measured_rows(
    spec: Spec,
    measured: Sequence[Measurement],
    left: Sequence[Log],
    radii: Sequence[float],
    *,
    partial: bool = False,
    interval: str | None = None,
) -> list[Row]:
    """Return the rows of a table in order.

    Args:
        spec: of the table.
        measured: the logs of the table.
        left: logs that are no part of it; an error names them.
        radii: of the columns, [0,1] pixel units, those at which ``measured`` were counted.
        partial: leave rows empty that gaps need and no log makes.
        interval: method of intervals, None for none.

    Raises:
        UserError: rows are missing, two logs are for one cell, or logs were not made alike where one number or one gap
            comes from them.
    """
    sharing = _share_rows(spec, measured)
    keys = [*sharing, *(_missing(spec, sharing, partial, left) if spec.complete else [])]
    keys.sort(key=_order(spec, keys))
    cells = [_cells(sharing[key], radii, interval) if key in sharing else (None,) * len(radii) for key in keys]
    bases = [_base(spec, key, keys) for key in keys]
    for key, base in zip(keys, bases, strict=True):
        pairs = product(sharing.get(keys[base], ()), sharing.get(key, ())) if base is not None else ()
        for other, one in pairs:
            check_alike(other, one, f"a gap of table {spec.number} is between {other.log.path} and {one.log.path}")
    facts = [dict(key) for key in keys]
    return [
        Row(lead, entries, base, known, tuple(sharing.get(key, ())))
        for key, known, lead, entries, base in zip(keys, facts, leading_cells(spec, facts), cells, bases, strict=True)
    ]


def _share_rows(spec: Spec, measured: Sequence[Measurement]) -> dict[Key, list[Measurement]]:
    """Return the measurements of each row: those with equal labels but the seed.

    Where a row has the best of several sigmas, the sigmas may differ too. A model that was trained on a range of sigma
    has a row of its own even there, since it is one model and not the best of several.
    """
    sharing: dict[Key, list[Measurement]] = {}
    for one in measured:
        labels = {**one.labels, "sigma": one.sigmas[0]}
        aside = {"seed", "label", "n", "n0", "alpha"}
        if spec.best_of_sigmas:
            aside |= {"eval_sigma"} if isinstance(labels["sigma"], tuple) else {"eval_sigma", "sigma"}
        key = tuple(sorted((name, value) for name, value in labels.items() if name not in aside))
        row = sharing.setdefault(key, [])
        for other in row:
            check_same_row(spec.number, other, one)
        row.append(one)
    return sharing


def _split(spec: Spec, facts: Facts) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the values that a row shares with those it is compared with, and its values of ``spec.complete``."""
    return tuple(facts.get(name) for name in _shared(spec)), tuple(facts.get(name) for name in spec.complete)


def _shared(spec: Spec) -> list[str]:
    return [*spec.blocks, "sigma", "continued", *(name for name in MODEL if name not in spec.complete)]


def _values(spec: Spec, keys: Sequence[Key]) -> dict[str, tuple[Any, ...]]:
    """Return the values of each label of ``spec.complete``, in the order of the rows."""
    return {name: spec.only.get(name) or tuple(sorted({dict(key)[name] for key in keys})) for name in spec.complete}


def _missing(spec: Spec, sharing: Mapping[Key, Sequence[Measurement]], partial: bool, left: Sequence[Log]) -> list[Key]:
    """Return the rows that blocks lack; without ``partial`` they are an error, as are two rows for one place."""
    there: dict[tuple[tuple[Any, ...], tuple[Any, ...]], Key] = {}
    for key in sharing:
        if (other := there.setdefault(_split(spec, dict(key)), key)) != key:
            a, b = (sharing[row][0].log.path for row in (other, key))
            apart = ", ".join(sorted({name for name, _ in set(other) ^ set(key)}))
            raise UserError(
                f"{a} and {b} are two logs for one cell of table {spec.number}, they differ in {apart}: leave one out"
            )
    values = _values(spec, list(sharing))
    for name, known in values.items():
        if name == spec.gaps_over and len(known) < 2 and not partial:
            raise UserError(
                f"table {spec.number} compares several {name}, and its logs all have {name}={known[0]}: add others"
            )
    names = [*_shared(spec), *spec.complete]
    groups = dict.fromkeys(group for group, _ in there)
    lacking = [(*group, *own) for group in groups for own in product(*values.values()) if (group, own) not in there]
    keys = [tuple(sorted((n, v) for n, v in zip(names, row, strict=True) if v is not None)) for row in lacking]
    if keys and not partial:
        unused = f" (no part of it: {', '.join(str(log.path) for log in left)})" if left else ""
        rows = "; ".join(_wanted(spec, dict(key)) for key in keys)
        raise UserError(
            f"table {spec.number} lacks {len(keys)} of its rows: {rows}{unused}; --partial prints what there is"
        )
    return keys


def _wanted(spec: Spec, facts: Facts) -> str:
    """Return how to make a missing row: its name, and the labels of its log."""
    labels = [f"{name}={facts[name]}" for name in (*MODEL, "epochs") if name in facts]
    labels += ["continued=true"] * ("continued" in facts)
    trained = sigma_text(facts["sigma"]).replace(" ", "")
    name = spec.lead[spec.name_column][1](facts)
    return f"{name} at sigma {facts['eval_sigma']:g} ({' '.join(labels)} sigma={trained})"


def _order(spec: Spec, keys: Sequence[Key]) -> Callable[[Key], tuple[Any, ...]]:
    """Return the sort key of rows: blocks, then models as they come, then what they are compared by."""

    def family(facts: Facts) -> tuple[Any, ...]:
        return tuple(facts.get(name) for name in MODEL if name not in spec.complete)

    families, values, come = [family(dict(key)) for key in keys], _values(spec, keys), list(keys)

    def order(key: Key) -> tuple[Any, ...]:
        facts = dict(key)
        return (
            *(_level(facts[name]) for name in spec.blocks),
            families.index(family(facts)),
            "continued" in facts,
            facts.get("sigma") != facts.get("eval_sigma"),  # what was trained at another sigma comes last
            _level(facts.get("sigma", 0.0)),
            *(known.index(facts.get(name)) for name, known in values.items()),
            come.index(key),
        )

    return order


def _level(sigma: float | tuple[float, float]) -> tuple[bool, Any]:
    """Return the sort key of a sigma: numbers first, then ranges."""
    return isinstance(sigma, tuple), sigma


def _base(spec: Spec, key: Key, keys: Sequence[Key]) -> int | None:
    """Return the position of the row to which a row's gaps are: with the first value of the label, all else alike."""
    if spec.gaps_over is None:
        return None
    wanted = _split(spec, {**dict(key), spec.gaps_over: _values(spec, keys)[spec.gaps_over][0]})
    return next((at for at, other in enumerate(keys) if other != key and _split(spec, dict(other)) == wanted), None)


def _cells(measured: Sequence[Measurement], radii: Sequence[float], interval: str | None) -> tuple[Cell, ...]:
    """Return the entries of a row: at each radius the best over its sigmas. In most tables a row has one sigma."""
    by_sigmas: dict[tuple[Any, Any], list[Measurement]] = {}
    for one in measured:
        by_sigmas.setdefault(one.sigmas, []).append(one)
    entries = []
    for place, radius in enumerate(radii):
        candidates = [_cell(seeds, place, radius, interval) for seeds in by_sigmas.values()]
        best = max(candidates, key=lambda cell: (not cell.zero, cell.share))
        # If one candidate is a lower bound, it may be the best in truth. Then the best is a lower bound as well.
        entries.append(replace(best, exact=all(cell.exact for cell in candidates)))
    return tuple(entries)


def _cell(seeds: Sequence[Measurement], place: int, radius: float, interval: str | None) -> Cell:
    """Return the entry of one model at one sigma, at the radius in column ``place``.

    ``UserError`` where a log certifies images at a radius that its n and alpha cannot reach.
    """
    counts = tuple(one.counts[place] for one in seeds)
    shares = [count / len(one.log) for count, one in zip(counts, seeds, strict=True)]
    zero = radius > seeds[0].cap
    for one, count in zip(seeds, counts, strict=True):
        if zero and count:
            raise UserError(
                f"{one.log.path} certifies {count} images at r = {radius_name(radius)}, but n = {one.labels['n']},"
                f" alpha = {one.labels['alpha']:g} and sigma = {one.labels['eval_sigma']:g} reach {one.cap:.4g}:"
                " correct its labels"
            )
    ends = None
    if interval and len(seeds) == 1 and not zero:
        low, high = proportion_interval(counts[0], len(seeds[0].log), method=interval)
        ends = float(low), float(high)
    return Cell(
        share=math.fsum(shares) / len(shares),
        spread=float(np.std(shares, ddof=1)) if len(shares) > 1 else None,
        zero=zero,
        exact=zero or all(one.sampled[place] for one in seeds),
        measured=tuple(seeds),
        counts=counts,
        interval=ends,
    )
