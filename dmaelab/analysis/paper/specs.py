"""What each table of the paper is: which logs it takes, how they make its rows, and how rows are named."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Facts = Mapping[str, Any]
"""The labels that the logs of one row share, with ``eval_sigma``; see :mod:`dmaelab.records.labels`."""

MODEL = ("pretrain", "method", "backbone")
"""The labels that name a model."""


@dataclass(frozen=True)
class Spec:
    """One table.

    Attributes:
        number: of the table in the paper.
        caption: what it shows.
        radii: of its columns, [0,1] pixel units.
        lead: heads of the leading columns, and the text of each for a row.
        needs: labels that every log must carry.
        only: label -> values. A log with another value is no part of the table.
        blocks: labels by which the rows are ordered first. Rows with one text in the first column are a block.
        best_of_sigmas: a row is a model at all its sigmas, and each entry is the best of them at that radius.
        complete: labels of which every block needs a row for each combination of values: those in ``only``, or else
            those of the logs, in ascending order.
        gaps_over: label that gaps are about. A gap is to the row with the first value of this label and with equal
            other labels; None states no gaps.
        marks: of the best entry at each radius, and of the second best.
    """

    number: int
    caption: str
    radii: tuple[float, ...]
    lead: tuple[tuple[str, Callable[[Facts], str]], ...]
    needs: tuple[str, ...] = ("method", "backbone")
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    blocks: tuple[str, ...] = ("eval_sigma",)
    best_of_sigmas: bool = False
    complete: tuple[str, ...] = ()
    gaps_over: str | None = None
    marks: tuple[str, ...] = ()

    @property
    def name_column(self) -> int:
        """Which leading column names the row: the first one, or the second where the first names the block."""
        return 1 if self.blocks else 0


def sigma_text(sigma: float | tuple[float, float]) -> str:
    """Return a sigma as the paper writes it: ``0.5``, ``1.0``, ``[0, 0.75]``."""
    return f"[{sigma[0]:g}, {sigma[1]:g}]" if isinstance(sigma, tuple) else str(float(sigma))


def _model(facts: Facts) -> str:
    """Return the name of a model, with its method where that is not CR, the paper's own."""
    name = method = str(facts["method"])
    if "pretrain" in facts:
        name = f"{facts['pretrain']} {facts['backbone']}" + ("" if method == "CR" else f" ({method})")
    return f"{name} + continued pre-training" if facts.get("continued") else name


def _recipe(facts: Facts) -> str:
    return f"{facts['pretrain']}-{str(facts['backbone']).removeprefix('ViT-')}+{facts['method']}"


def _evaluated(facts: Facts) -> str:
    return sigma_text(facts["eval_sigma"])


def _params(facts: Facts) -> str:
    return str(facts.get("params", "-"))


def _extra_data(facts: Facts) -> str:
    return {True: "yes", False: "no", None: "-"}[facts.get("extra_data")]


_GRID = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
_MODELS = (("Method", _model), ("#Params", _params), ("Extra data", _extra_data))
_SIGMA = ("sigma", _evaluated)
_BEST_SIGMA = "of different models, the best sigma at each radius"
_RANKED = ("best", "second")

_TABLES = (
    Spec(1, _BEST_SIGMA, _GRID[1:], _MODELS, blocks=(), best_of_sigmas=True, marks=_RANKED),
    Spec(2, "of different models at different noise levels", _GRID, (_SIGMA, ("Method", _model)), marks=_RANKED),
    Spec(3, _BEST_SIGMA, (0.25, 0.5, 0.75, 1.0), _MODELS, blocks=(), best_of_sigmas=True, marks=_RANKED),
    Spec(
        4,
        "of linear probes on features of MAE and DMAE",
        _GRID,
        (_SIGMA, ("Method", lambda facts: str(facts["pretrain"]))),
        only={"method": ("probe",), "pretrain": ("MAE", "DMAE")},
        complete=("pretrain",),
        gaps_over="pretrain",
    ),
    Spec(
        5,
        "after pre-training for different numbers of epochs",
        _GRID,
        (_SIGMA, ("Epochs", lambda facts: f"{facts['epochs']:g}")),
        needs=("method", "backbone", "epochs"),
        only={"pretrain": ("DMAE",)},
        complete=("epochs",),
        gaps_over="epochs",
    ),
    Spec(
        6,
        "of DMAE with different fine-tuning methods",
        _GRID,
        (_SIGMA, ("Method", _recipe)),
        only={"pretrain": ("DMAE",), "method": ("RS", "CR")},
        complete=("method",),
        gaps_over="method",
    ),
    Spec(
        9,
        "of MAE and DMAE with the same fine-tuning",
        _GRID,
        (_SIGMA, ("Method", _recipe)),
        only={"method": ("RS", "CR"), "pretrain": ("MAE", "DMAE")},
        complete=("method", "pretrain"),
        gaps_over="pretrain",
    ),
    Spec(
        10,
        "of models evaluated at other noise levels than they were trained at",
        (0.0, 0.25, 0.5, 0.75, 1.0),
        (("Finetune sigma", lambda facts: sigma_text(facts["sigma"])), ("Evaluate sigma", _evaluated)),
        needs=("method", "backbone", "sigma"),
        blocks=("sigma", "eval_sigma"),
        marks=("bold",),
    ),
)

SPECS = {spec.number: spec for spec in _TABLES}
"""Number in the paper -> what the table is."""


def leading_cells(spec: Spec, rows: Sequence[Facts]) -> list[tuple[str, ...]]:
    """Return the text of the leading columns of each row.

    Where several rows have one name, the labels in which they differ are added to it in brackets.
    """
    leads = [[text(facts) for _, text in spec.lead] for facts in rows]
    names = [lead[spec.name_column] for lead in leads]
    for facts, lead, name in zip(rows, leads, names, strict=True):
        namesakes = [other for other, same in zip(rows, names, strict=True) if same == name]
        labels = dict.fromkeys(label for other in namesakes for label in other if label not in ("sigma", "eval_sigma"))
        differing = [label for label in labels if len({other.get(label) for other in namesakes}) > 1]
        more = [_label_text(label, facts[label]) for label in differing if label in facts]
        if "sigma" not in spec.blocks and facts.get("sigma") != facts.get("eval_sigma"):
            more.append(f"trained at {sigma_text(facts['sigma'])}")
        lead[spec.name_column] = _with_brackets(name, more)
    return [tuple(lead) for lead in leads]


def _label_text(label: str, value: Any) -> str:
    """Return what is added to a name for one label, such as ``RS`` or ``700 epochs``."""
    if label == "epochs":
        return f"{value:g} epochs"
    return str(value) if label in (*MODEL, "params", "dataset") else f"{label} {value}"


def _with_brackets(name: str, more: Sequence[str]) -> str:
    """Return a name with more words in brackets: in those that it ends with, or in new ones."""
    if not more:
        return name
    return f"{name.removesuffix(')')}, {', '.join(more)})" if name.endswith(")") else f"{name} ({', '.join(more)})"
