"""From labelled logs to the rows of one of the paper's tables: their order and names, what is missing, what is
compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from dmaelab.analysis.paper.cells import Cell, Measurement, check_alike, make_cell
from dmaelab.analysis.paper.published import printed_rows
from dmaelab.analysis.paper.selection import Key, select, share_rows
from dmaelab.analysis.paper.specs import SPECS, Facts, Spec, sigma_text
from dmaelab.records.readers import Log
from dmaelab.utils.errors import UserError

_MODEL = ("pretrain", "method", "backbone")


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        lead: text of the leading columns.
        cells: one per radius, None where there is no figure.
        base: position of the row that the gaps of this one are relative to.
        facts: labels of its logs; none for printed rows.
        measured: all its logs, those too that are the best at no radius.
        printed: copied from the paper, not measured.
    """

    lead: tuple[str, ...]
    cells: tuple[Cell | None, ...]
    base: int | None = None
    facts: Facts = field(default_factory=dict)
    measured: tuple[Measurement, ...] = ()
    printed: bool = False


def paper_rows(number: int, radii: Sequence[float]) -> list[Row]:
    """Return what the paper prints in a table, at those of the radii that it has."""
    spec = SPECS[number]
    rows = []
    for place, printed in enumerate(printed_rows(number)):
        pairs = zip(spec.radii, printed.shares, printed.zeros, strict=True)
        known = {radius: Cell(share, zero=zero) for radius, share, zero in pairs if share is not None}
        base = place - 1 if spec.takes and place % 2 else None  # the paper's gaps are within pairs
        rows.append(Row(printed.lead, tuple(known.get(radius) for radius in radii), base, printed=True))
    return rows


def measured_rows(
    number: int, logs: Sequence[Log], radii: Sequence[float], *, partial: bool = False, interval: str | None = None
) -> tuple[list[Row], list[Log]]:
    """Return the rows of a table from labelled logs, in order, and the logs that are no part of it.

    Args:
        number: of the table in the paper.
        logs: with labels in their headers.
        radii: of the columns, [0,1] pixel units.
        partial: leave rows empty that gaps need and no log makes.
        interval: method of intervals, None for none.

    Raises:
        UserError: missing labels or rows, logs of several data sets, two logs for one cell, or logs that were not made
            alike where one number or one gap comes from them.
    """
    spec = SPECS[number]
    taken, left = select(number, logs)
    sharing = share_rows(number, taken)
    keys = [*sharing, *(_missing(number, sharing, partial, left) if spec.takes else [])]
    keys.sort(key=_order(spec, keys))
    rows = [
        Row(
            lead,
            tuple(_entry(sharing[key], radius, interval) if key in sharing else None for radius in radii),
            _base(spec, key, keys),
            dict(key),
            tuple(sharing.get(key, ())),
        )
        for key, lead in zip(keys, _leads(spec, keys), strict=True)
    ]
    for row in rows:
        for base, one in product(rows[row.base].measured if row.base is not None else (), row.measured):
            check_alike(base, one, f"a gap of table {number} is between {base.log.path} and {one.log.path}")
    return rows, left


def _split(spec: Spec, key: Key) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return what a row has in common with those that it is compared with, and its values of the labels that these
    differ in.
    """
    facts = dict(key)
    return tuple(facts.get(name) for name in _common(spec)), tuple(facts.get(name) for name in spec.takes)


def _common(spec: Spec) -> list[str]:
    return [*spec.blocks, "sigma", "continued", *(name for name in _MODEL if name not in spec.takes)]


def _values(spec: Spec, keys: Sequence[Key]) -> list[tuple[Any, ...]]:
    """Return the values of each label that a table takes, in the order of its rows."""
    return [values or tuple(sorted({dict(key)[name] for key in keys})) for name, values in spec.takes.items()]


def _missing(
    number: int, sharing: Mapping[Key, Sequence[Measurement]], partial: bool, left: Sequence[Log]
) -> list[Key]:
    """Return the rows that blocks lack; without ``partial`` they are an error, as are two rows for one place."""
    spec = SPECS[number]
    there: dict[tuple[tuple[Any, ...], tuple[Any, ...]], Key] = {}
    for key in sharing:
        if (other := there.setdefault(_split(spec, key), key)) != key:
            a, b = (sharing[row][0].log.path for row in (other, key))
            apart = ", ".join(sorted({name for name, _ in set(other) ^ set(key)}))
            raise UserError(
                f"{a} and {b} are two logs for one cell of table {number}, they differ in {apart}: leave one out"
            )
    values = _values(spec, list(sharing))
    if len(values[-1]) < 2 and not partial:
        contrast = list(spec.takes)[-1]
        raise UserError(
            f"table {number} compares several {contrast}, and its logs all have {contrast}={values[-1][0]}: add others"
        )
    names = [*_common(spec), *spec.takes]
    lacking = [
        (*group, *own)
        for group in dict.fromkeys(group for group, _ in there)
        for own in product(*values)
        if (group, own) not in there
    ]
    keys = [tuple(sorted((n, v) for n, v in zip(names, row, strict=True) if v is not None)) for row in lacking]
    if keys and not partial:
        unused = f" (no part of it: {', '.join(str(log.path) for log in left)})" if left else ""
        rows = "; ".join(_wanted(spec, dict(key)) for key in keys)
        raise UserError(f"table {number} lacks {len(keys)} of its rows: {rows}{unused}; --partial prints what there is")
    return keys


def _wanted(spec: Spec, facts: Facts) -> str:
    """Return how to make a missing row: its name, and the labels of its log."""
    labels = [f"{name}={facts[name]}" for name in (*_MODEL, "epochs") if name in facts] + ["continued=true"] * (
        "continued" in facts
    )
    trained = sigma_text(facts["sigma"]).replace(" ", "")
    return f"{spec.lead[1][1](facts)} at sigma {facts['eval_sigma']:g} ({' '.join(labels)} sigma={trained})"


def _order(spec: Spec, keys: Sequence[Key]) -> Callable[[Key], tuple[Any, ...]]:
    """Return the sort key of rows: blocks, models as they come first, then what they are compared by."""

    def family(key: Key) -> tuple[Any, ...]:
        return tuple(dict(key).get(name) for name in _MODEL if name not in spec.takes)

    families, values, come = [family(key) for key in keys], _values(spec, keys), list(keys)

    def order(key: Key) -> tuple[Any, ...]:
        facts = dict(key)
        own = [known.index(value) for known, value in zip(values, _split(spec, key)[1], strict=True)]
        blocks = [_level(facts[name]) for name in spec.blocks]
        elsewhere = facts.get("sigma") != facts.get("eval_sigma")  # what was trained at another sigma comes last
        return (
            *blocks,
            families.index(family(key)),
            "continued" in facts,
            elsewhere,
            _level(facts.get("sigma", 0.0)),
            *own,
            come.index(key),
        )

    return order


def _level(sigma: float | tuple[float, float]) -> tuple[bool, Any]:
    return isinstance(sigma, tuple), sigma


def _base(spec: Spec, key: Key, keys: Sequence[Key]) -> int | None:
    """Return the position of the row that a row's gaps are relative to: the first value of the last label, all else
    alike.
    """
    if not spec.takes:
        return None
    group, own = _split(spec, key)
    base = (group, (*own[:-1], _values(spec, keys)[-1][0]))
    return next((place for place, other in enumerate(keys) if other != key and _split(spec, other) == base), None)


def _leads(spec: Spec, keys: Sequence[Key]) -> list[tuple[str, ...]]:
    """Return the leading cells of rows; where several have one name, what tells them apart is added to it."""
    facts = [dict(key) for key in keys]
    leads = [[text(fact) for _, text in spec.lead] for fact in facts]
    names = [lead[spec.name] for lead in leads]
    for fact, lead, name in zip(facts, leads, names, strict=True):
        namesakes = [other for other, same in zip(facts, names, strict=True) if same == name]
        labels = dict.fromkeys(label for other in namesakes for label in other if label not in ("sigma", "eval_sigma"))
        differing = [label for label in labels if len({other.get(label) for other in namesakes}) > 1]
        extra = [_say(label, fact[label]) for label in differing if label in fact]
        if "sigma" not in spec.blocks and fact.get("sigma") != fact.get("eval_sigma"):
            extra.append(f"trained at {sigma_text(fact['sigma'])}")
        lead[spec.name] = _with(name, extra)
    return [tuple(lead) for lead in leads]


def _with(name: str, extra: Sequence[str]) -> str:
    """Return a name with more in brackets, those that it ends with or new ones."""
    if not extra:
        return name
    return f"{name.removesuffix(')')}, {', '.join(extra)})" if name.endswith(")") else f"{name} ({', '.join(extra)})"


def _say(label: str, value: Any) -> str:
    if label == "epochs":
        return f"{value:g} epochs"
    return str(value) if label in (*_MODEL, "params", "dataset") else f"{label} {value}"


def _entry(measured: Sequence[Measurement], radius: float, interval: str | None) -> Cell:
    """Return the best cell of the sigmas of a row, which is a bound if any of them is; in most tables a row has one."""
    by_sigmas: dict[tuple[Any, Any], list[Measurement]] = {}
    for one in measured:
        by_sigmas.setdefault(one.sigmas, []).append(one)
    candidates = [make_cell(seeds, radius, interval) for seeds in by_sigmas.values()]
    best = max(candidates, key=lambda cell: (not cell.zero, cell.share))
    return replace(
        best, exact=all(cell.exact for cell in candidates)
    )  # what is not sampled for may be the best in truth
