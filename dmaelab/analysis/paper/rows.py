"""From measurements to rows of a table of the paper: which measurements share a row, its entries, and its place."""

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
from dmaelab.records.labels import CERTIFICATION_SETTINGS, CONTINUED, EPOCHS, EVAL_SIGMA, NAME, SEED, SIGMA
from dmaelab.records.readers import Log
from dmaelab.stats.intervals import proportion_interval
from dmaelab.utils.errors import UserError

Key = tuple[tuple[str, Any], ...]
"""The labels that the logs of one row share, sorted by name. ``dict(key)`` gives the facts of the row."""

# Labels that do not decide which logs share a row.
_NOT_IN_KEYS = {NAME, SEED, *CERTIFICATION_SETTINGS} - {EVAL_SIGMA}


@dataclass(frozen=True)
class Cell:
    """An entry: certified accuracy of one model at one sigma and radius.

    Attributes:
        share: certified accuracy in [0, 1], the mean over seeds.
        spread: standard deviation over seeds (ddof 1); None for one seed.
        zero: whether the radius is too large for n samples: no image of any model can be certified there.
        exact: False if a sequential certification did not sample for this radius. Then the share is a lower bound.
        measured: the measurements from which it was computed, one for each seed; empty for printed numbers.
        counts: number of certified images of each measurement.
        interval: 95 % interval of the share; None if it was not asked for, or if there are several seeds.
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
        cells: one entry for each radius; None if there is no number.
        base: index of the row that this row is compared with; None for no gaps.
        facts: labels that its logs share; empty for printed rows.
        measured: the measurements of all its logs, also of those that are not the best at any radius.
        printed: whether the row is copied from the paper and not measured.
    """

    lead: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    base: int | None = None
    facts: Facts = field(default_factory=dict)
    measured: tuple[Measurement, ...] = ()
    printed: bool = False


def paper_rows(spec: Spec, radii: Sequence[float]) -> list[Row]:
    """Return the rows that the paper prints. Entries at radii that the paper does not have are None."""
    rows = []
    for place, printed in enumerate(printed_rows(spec.number)):
        numbers = zip(spec.radii, printed.shares, printed.zeros, strict=True)
        known = {radius: Cell(share, zero=zero) for radius, share, zero in numbers if share is not None}
        base = place - 1 if spec.gaps_over and place % 2 else None  # the paper states gaps in pairs of rows
        rows.append(Row(printed.lead, tuple(known.get(radius) for radius in radii), base, printed=True))
    return rows


def measured_rows(
    spec: Spec,
    measured: Sequence[Measurement],
    other_logs: Sequence[Log],
    radii: Sequence[float],
    *,
    partial: bool = False,
    interval: str | None = None,
) -> list[Row]:
    """Return the rows of a table in order.

    Args:
        spec: the table.
        measured: measurements of the logs that belong to the table.
        other_logs: logs that do not belong to it; the error about missing rows names them.
        radii: radii of the columns, in [0,1] pixel units. They must be those of the counts in ``measured``.
        partial: print "-" for rows that the gaps need but no log provides.
        interval: method of the confidence intervals; None adds no intervals.

    Raises:
        UserError: rows are missing, two logs are for the same cell, or logs with different settings share a row or are
            compared by a gap.
    """
    sharing = _share_rows(spec, measured)
    keys = list(sharing)
    if spec.complete:
        keys += _missing(spec, sharing, partial, other_logs)
    keys.sort(key=_order(spec, keys))
    cells = [_cells(sharing[key], radii, interval) if key in sharing else (None,) * len(radii) for key in keys]
    bases = [_base(spec, key, keys) for key in keys]
    for key, base in zip(keys, bases, strict=True):
        pairs = product(sharing.get(keys[base], ()), sharing.get(key, ())) if base is not None else ()
        for a, b in pairs:
            check_alike(a, b, f"a gap of table {spec.number} is between {a.log.path} and {b.log.path}")
    facts = [dict(key) for key in keys]
    return [
        Row(lead, entries, base, labels, tuple(sharing.get(key, ())))
        for key, labels, lead, entries, base in zip(keys, facts, leading_cells(spec, facts), cells, bases, strict=True)
    ]


def _share_rows(spec: Spec, measured: Sequence[Measurement]) -> dict[Key, list[Measurement]]:
    """Return the measurements of each row. They have equal labels, except for the seed.

    In a table with the best of several sigmas, the measurements of a row may also differ in sigma. A model that was
    trained on a range of sigma still has its own row, because it is one model and not the best of several.
    """
    sharing: dict[Key, list[Measurement]] = {}
    for measurement in measured:
        labels = {**measurement.labels, SIGMA: measurement.sigmas[0]}
        ignored = set(_NOT_IN_KEYS)
        if spec.best_of_sigmas:
            ignored.add(EVAL_SIGMA)
            if not isinstance(labels[SIGMA], tuple):
                ignored.add(SIGMA)
        key = tuple(sorted((name, value) for name, value in labels.items() if name not in ignored))
        row = sharing.setdefault(key, [])
        for other in row:
            check_same_row(spec.number, other, measurement)
        row.append(measurement)
    return sharing


def _split(spec: Spec, facts: Facts) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return a row's values of the labels that compared rows share, and its values of ``spec.complete``."""
    return tuple(facts.get(name) for name in _shared(spec)), tuple(facts.get(name) for name in spec.complete)


def _shared(spec: Spec) -> list[str]:
    """Return the labels in which compared rows must be equal."""
    return [*spec.blocks, SIGMA, CONTINUED, *(name for name in MODEL if name not in spec.complete)]


def _values(spec: Spec, keys: Sequence[Key]) -> dict[str, tuple[Any, ...]]:
    """Return the possible values of each label of ``spec.complete``, in the order of the rows."""
    return {name: spec.only.get(name) or tuple(sorted({dict(key)[name] for key in keys})) for name in spec.complete}


def _missing(
    spec: Spec, sharing: Mapping[Key, Sequence[Measurement]], partial: bool, other_logs: Sequence[Log]
) -> list[Key]:
    """Return the keys of the rows that the gaps need but no log provides.

    Raises:
        UserError: two logs are for the same cell, or, without ``partial``, there are missing rows.
    """
    present: dict[tuple[tuple[Any, ...], tuple[Any, ...]], Key] = {}
    for key in sharing:
        if (other := present.setdefault(_split(spec, dict(key)), key)) != key:
            a, b = (sharing[row][0].log.path for row in (other, key))
            different = ", ".join(sorted({name for name, _ in set(other) ^ set(key)}))
            raise UserError(
                f"{a} and {b} are two logs for one cell of table {spec.number}, they differ in {different}: leave one"
                " out"
            )
    values = _values(spec, list(sharing))
    for name, choices in values.items():
        if name == spec.gaps_over and len(choices) < 2 and not partial:
            raise UserError(
                f"table {spec.number} compares several {name}, but all its logs have {name}={choices[0]}: add others"
            )
    names = [*_shared(spec), *spec.complete]
    groups = dict.fromkeys(group for group, _ in present)
    rows = [(*group, *own) for group in groups for own in product(*values.values()) if (group, own) not in present]
    keys = [tuple(sorted((n, v) for n, v in zip(names, row, strict=True) if v is not None)) for row in rows]
    if keys and not partial:
        wanted = "; ".join(_wanted(spec, dict(key)) for key in keys)
        unused = ", ".join(str(log.path) for log in other_logs)
        raise UserError(
            f"table {spec.number} lacks {len(keys)} of its rows: {wanted};"
            + (f" not in this table because of their labels: {unused};" if unused else "")
            + " --partial prints the table without them"
        )
    return keys


def _wanted(spec: Spec, facts: Facts) -> str:
    """Return the name of a missing row, and the labels of a log that would provide it."""
    labels = [f"{name}={facts[name]}" for name in (*MODEL, EPOCHS) if name in facts]
    if CONTINUED in facts:
        labels.append(f"{CONTINUED}=true")
    trained = sigma_text(facts[SIGMA]).replace(" ", "")
    name = spec.lead[spec.name_column][1](facts)
    return f"{name} at sigma {facts[EVAL_SIGMA]:g} ({' '.join(labels)} {SIGMA}={trained})"


def _order(spec: Spec, keys: Sequence[Key]) -> Callable[[Key], tuple[Any, ...]]:
    """Return the sort key of rows.

    Rows are sorted by blocks, then models in the order of their logs, then the values that the gaps compare.
    """

    def model(facts: Facts) -> tuple[Any, ...]:
        return tuple(facts.get(name) for name in MODEL if name not in spec.complete)

    models, values, original = [model(dict(key)) for key in keys], _values(spec, keys), list(keys)

    def order(key: Key) -> tuple[Any, ...]:
        facts = dict(key)
        return (
            *(_sigma_order(facts[name]) for name in spec.blocks),
            models.index(model(facts)),
            CONTINUED in facts,
            facts.get(SIGMA) != facts.get(EVAL_SIGMA),  # models that were trained at another sigma come last
            _sigma_order(facts.get(SIGMA, 0.0)),
            *(choices.index(facts.get(name)) for name, choices in values.items()),
            original.index(key),
        )

    return order


def _sigma_order(sigma: float | tuple[float, float]) -> tuple[bool, Any]:
    """Return the sort key of a sigma: numbers first, then ranges."""
    return isinstance(sigma, tuple), sigma


def _base(spec: Spec, key: Key, keys: Sequence[Key]) -> int | None:
    """Return the index of the row that a row is compared with; None if there is none."""
    if spec.gaps_over is None:
        return None
    wanted = _split(spec, {**dict(key), spec.gaps_over: _values(spec, keys)[spec.gaps_over][0]})
    return next((row for row, other in enumerate(keys) if other != key and _split(spec, dict(other)) == wanted), None)


def _cells(measured: Sequence[Measurement], radii: Sequence[float], interval: str | None) -> tuple[Cell, ...]:
    """Return the entries of a row: at each radius the best over its sigmas. In most tables a row has one sigma."""
    by_sigmas: dict[tuple[Any, Any], list[Measurement]] = {}
    for measurement in measured:
        by_sigmas.setdefault(measurement.sigmas, []).append(measurement)
    entries = []
    for place, radius in enumerate(radii):
        candidates = [_cell(seeds, place, radius, interval) for seeds in by_sigmas.values()]
        best = max(candidates, key=lambda cell: (not cell.zero, cell.share))
        # A candidate that is a lower bound might be the best if it were exact. So the best is then a lower bound, too.
        entries.append(replace(best, exact=all(cell.exact for cell in candidates)))
    return tuple(entries)


def _cell(seeds: Sequence[Measurement], place: int, radius: float, interval: str | None) -> Cell:
    """Return the entry of one model at one sigma, at the radius in column ``place``.

    Raises:
        UserError: a log certifies images at a radius that its sigma, n and alpha cannot reach.
    """
    counts = tuple(seed.counts[place] for seed in seeds)
    shares = [count / len(seed.log) for count, seed in zip(counts, seeds, strict=True)]
    zero = radius > seeds[0].cap
    for seed, count in zip(seeds, counts, strict=True):
        if zero and count:
            raise UserError(
                f"{seed.log.path} certifies {count} images at r = {radius_name(radius)}, but sigma ="
                f" {seed.labels[EVAL_SIGMA]:g}, n = {seed.labels['n']} and alpha = {seed.labels['alpha']:g} cannot"
                f" certify more than {seed.cap:.4g}: correct its labels"
            )
    ends = None
    if interval and len(seeds) == 1 and not zero:
        low, high = proportion_interval(counts[0], len(seeds[0].log), method=interval)
        ends = float(low), float(high)
    return Cell(
        share=math.fsum(shares) / len(shares),
        spread=float(np.std(shares, ddof=1)) if len(shares) > 1 else None,
        zero=zero,
        exact=zero or all(seed.sampled[place] for seed in seeds),
        measured=tuple(seeds),
        counts=counts,
        interval=ends,
    )
