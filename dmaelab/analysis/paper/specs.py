"""What each table of the paper shows: which logs it takes, how logs form its rows, and how rows are named."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dmaelab.records.labels import (
    BACKBONE,
    CONTINUED,
    DATASET,
    EPOCHS,
    EVAL_SIGMA,
    EXTRA_DATA,
    METHOD,
    PARAMS,
    PRETRAIN,
    SIGMA,
)

Facts = Mapping[str, Any]
"""The labels that the logs of one row share, with ``eval_sigma``; see :mod:`dmaelab.records.labels`."""

MODEL = (PRETRAIN, METHOD, BACKBONE)
"""The labels that name a model."""


@dataclass(frozen=True)
class Spec:
    """One table.

    Attributes:
        number: number of the table in the paper.
        caption: end of the caption, after "Certified accuracy (%)".
        radii: radii of its columns, in [0,1] pixel units.
        lead: the leading columns, which name a row: for each its head, and a function that returns the text of a row.
        needs: labels that every log must have.
        only: label -> values. A log with another value does not belong to the table.
        blocks: labels by which the rows are ordered first. Rows with the same text in the first column form a block.
        best_of_sigmas: whether a row is a model at all its sigmas. Then each entry is the best of them at its radius.
        complete: labels that the gaps compare. Every block needs a row for each combination of their values. The values
            are those in ``only``, or else those of the logs in ascending order.
        gaps_over: label over which gaps are computed, or None for no gaps. The gap of a row is to the row of the same
            model and sigmas that has the first value of this label.
        marks: mark of the best entry at each radius, then mark of the second best.
    """

    number: int
    caption: str
    radii: tuple[float, ...]
    lead: tuple[tuple[str, Callable[[Facts], str]], ...]
    needs: tuple[str, ...] = (METHOD, BACKBONE)
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    blocks: tuple[str, ...] = (EVAL_SIGMA,)
    best_of_sigmas: bool = False
    complete: tuple[str, ...] = ()
    gaps_over: str | None = None
    marks: tuple[str, ...] = ()

    @property
    def name_column(self) -> int:
        """Position of the leading column that names the row: 1 if the first column names a block, else 0."""
        return 1 if self.blocks else 0


def sigma_text(sigma: float | tuple[float, float]) -> str:
    """Return a sigma as the paper writes it: ``0.5``, ``1.0``, ``[0, 0.75]``."""
    return f"[{sigma[0]:g}, {sigma[1]:g}]" if isinstance(sigma, tuple) else str(float(sigma))


def _model(facts: Facts) -> str:
    """Return the name of a model such as ``DMAE ViT-B``. The method is added unless it is CR, the paper's own."""
    name = method = str(facts[METHOD])
    if PRETRAIN in facts:
        name = f"{facts[PRETRAIN]} {facts[BACKBONE]}"
        if method != "CR":
            name += f" ({method})"
    return f"{name} + continued pre-training" if facts.get(CONTINUED) else name


def _recipe(facts: Facts) -> str:
    """Return a name such as ``DMAE-B+CR``."""
    return f"{facts[PRETRAIN]}-{str(facts[BACKBONE]).removeprefix('ViT-')}+{facts[METHOD]}"


def _evaluation_sigma(facts: Facts) -> str:
    return sigma_text(facts[EVAL_SIGMA])


def _params(facts: Facts) -> str:
    return str(facts.get(PARAMS, "-"))


def _extra_data(facts: Facts) -> str:
    return {True: "yes", False: "no", None: "-"}[facts.get(EXTRA_DATA)]


_GRID = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
_MODELS = (("Method", _model), ("#Params", _params), ("Extra data", _extra_data))
_SIGMA_COLUMN = ("sigma", _evaluation_sigma)
_BEST_SIGMA = "of different models, the best sigma at each radius"
_RANKED = ("best", "second")

SPECS = {
    spec.number: spec
    for spec in (
        Spec(1, _BEST_SIGMA, _GRID[1:], _MODELS, blocks=(), best_of_sigmas=True, marks=_RANKED),
        Spec(
            2,
            "of different models at different noise levels",
            _GRID,
            (_SIGMA_COLUMN, ("Method", _model)),
            marks=_RANKED,
        ),
        Spec(3, _BEST_SIGMA, (0.25, 0.5, 0.75, 1.0), _MODELS, blocks=(), best_of_sigmas=True, marks=_RANKED),
        Spec(
            4,
            "of linear probes on features of MAE and DMAE",
            _GRID,
            (_SIGMA_COLUMN, ("Method", lambda facts: str(facts[PRETRAIN]))),
            only={METHOD: ("probe",), PRETRAIN: ("MAE", "DMAE")},
            complete=(PRETRAIN,),
            gaps_over=PRETRAIN,
        ),
        Spec(
            5,
            "after pre-training for different numbers of epochs",
            _GRID,
            (_SIGMA_COLUMN, ("Epochs", lambda facts: f"{facts[EPOCHS]:g}")),
            needs=(METHOD, BACKBONE, EPOCHS),
            only={PRETRAIN: ("DMAE",)},
            complete=(EPOCHS,),
            gaps_over=EPOCHS,
        ),
        Spec(
            6,
            "of DMAE with different fine-tuning methods",
            _GRID,
            (_SIGMA_COLUMN, ("Method", _recipe)),
            only={PRETRAIN: ("DMAE",), METHOD: ("RS", "CR")},
            complete=(METHOD,),
            gaps_over=METHOD,
        ),
        Spec(
            9,
            "of MAE and DMAE with the same fine-tuning",
            _GRID,
            (_SIGMA_COLUMN, ("Method", _recipe)),
            only={METHOD: ("RS", "CR"), PRETRAIN: ("MAE", "DMAE")},
            complete=(METHOD, PRETRAIN),
            gaps_over=PRETRAIN,
        ),
        Spec(
            10,
            "of models evaluated at other noise levels than they were trained at",
            (0.0, 0.25, 0.5, 0.75, 1.0),
            (("Finetune sigma", lambda facts: sigma_text(facts[SIGMA])), ("Evaluate sigma", _evaluation_sigma)),
            needs=(METHOD, BACKBONE, SIGMA),
            blocks=(SIGMA, EVAL_SIGMA),
            marks=("bold",),
        ),
    )
}
"""Number of a table in the paper -> what it shows."""


def leading_cells(spec: Spec, rows: Sequence[Facts]) -> list[tuple[str, ...]]:
    """Return the text of the leading columns of each row.

    If several rows have the same name, the labels in which they differ are added to it in brackets.
    """
    leads = [[text(facts) for _, text in spec.lead] for facts in rows]
    names = [lead[spec.name_column] for lead in leads]
    for facts, lead, name in zip(rows, leads, names, strict=True):
        namesakes = [other for other, other_name in zip(rows, names, strict=True) if other_name == name]
        labels = dict.fromkeys(label for other in namesakes for label in other if label not in (SIGMA, EVAL_SIGMA))
        differing = [label for label in labels if len({other.get(label) for other in namesakes}) > 1]
        added = [_label_text(label, facts[label]) for label in differing if label in facts]
        if SIGMA not in spec.blocks and facts.get(SIGMA) != facts.get(EVAL_SIGMA):
            added.append(f"trained at {sigma_text(facts[SIGMA])}")
        lead[spec.name_column] = _with_brackets(name, added)
    return [tuple(lead) for lead in leads]


def _label_text(label: str, value: Any) -> str:
    """Return a label as it is added to a name, such as ``RS`` or ``700 epochs``."""
    if label == EPOCHS:
        return f"{value:g} epochs"
    return str(value) if label in (*MODEL, PARAMS, DATASET) else f"{label} {value}"


def _with_brackets(name: str, added: Sequence[str]) -> str:
    """Return a name with texts added in brackets. If the name ends with brackets, the texts go into these."""
    if not added:
        return name
    text = ", ".join(added)
    return f"{name.removesuffix(')')}, {text})" if name.endswith(")") else f"{name} ({text})"
