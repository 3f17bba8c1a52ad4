"""What each table of the paper is: how logs make its rows, and what is said about them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Facts = Mapping[str, Any]
"""Labels of the logs of a row, with ``eval_sigma``; see :mod:`dmaelab.analysis.labels`."""


@dataclass(frozen=True)
class Spec:
    """One table.

    Attributes:
        caption: what it shows.
        radii: of its columns, [0,1] pixel units.
        lead: heads of the leading columns, and the text of each for a row.
        needs: labels that every log of the table must carry.
        blocks: labels that order the rows first; rows of one text in the first column are one block. Without any, a row
            is a model at all its sigmas, and each entry the best of them at that radius.
        takes: label -> values. Logs with other values are no part of the table, every block needs all combinations, and
            gaps compare each row with the one that has the first value of the last label. No values: those of the logs.
        marks: of the best entry at each radius, and of the second best.
    """

    caption: str
    radii: tuple[float, ...]
    lead: tuple[tuple[str, Callable[[Facts], str]], ...]
    needs: tuple[str, ...] = ("method", "backbone")
    blocks: tuple[str, ...] = ("eval_sigma",)
    takes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    marks: tuple[str, ...] = ()

    @property
    def envelope(self) -> bool:
        """Whether an entry is the best over the sigmas of its row."""
        return not self.blocks

    @property
    def name(self) -> int:
        """Which leading column names the row; what tells apart rows of one name is added there."""
        return 0 if self.envelope else 1


def sigma_text(sigma: float | tuple[float, float]) -> str:
    """Return a sigma as the paper writes it: ``0.5``, ``1.0``, ``[0, 0.75]``."""
    return f"[{sigma[0]:g}, {sigma[1]:g}]" if isinstance(sigma, tuple) else str(float(sigma))


def _model(facts: Facts) -> str:
    """Return the name of a model, with its method where that is not CR, the paper's own."""
    method = str(facts["method"])
    name = (
        f"{facts['pretrain']} {facts['backbone']}" + ("" if method == "CR" else f" ({method})")
        if "pretrain" in facts
        else method
    )
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
_RANKED = ("best", "second")

SPECS = {
    1: Spec("of different models, the best sigma at each radius", _GRID[1:], _MODELS, blocks=(), marks=_RANKED),
    2: Spec(
        "of different models at different noise levels",
        _GRID,
        (("sigma", _evaluated), ("Method", _model)),
        marks=_RANKED,
    ),
    3: Spec(
        "of different models, the best sigma at each radius", (0.25, 0.5, 0.75, 1.0), _MODELS, blocks=(), marks=_RANKED
    ),
    4: Spec(
        "of linear probes on features of MAE and DMAE",
        _GRID,
        (("sigma", _evaluated), ("Method", lambda facts: str(facts["pretrain"]))),
        takes={"method": ("probe",), "pretrain": ("MAE", "DMAE")},
    ),
    5: Spec(
        "after pre-training for different numbers of epochs",
        _GRID,
        (("sigma", _evaluated), ("Epochs", lambda facts: f"{facts['epochs']:g}")),
        needs=("method", "backbone", "epochs"),
        takes={"pretrain": ("DMAE",), "epochs": ()},
    ),
    6: Spec(
        "of DMAE with different fine-tuning methods",
        _GRID,
        (("sigma", _evaluated), ("Method", _recipe)),
        takes={"pretrain": ("DMAE",), "method": ("RS", "CR")},
    ),
    9: Spec(
        "of MAE and DMAE with the same fine-tuning",
        _GRID,
        (("sigma", _evaluated), ("Method", _recipe)),
        takes={"method": ("RS", "CR"), "pretrain": ("MAE", "DMAE")},
    ),
    10: Spec(
        "of models evaluated at other noise levels than they were trained at",
        (0.0, 0.25, 0.5, 0.75, 1.0),
        (("Finetune sigma", lambda facts: sigma_text(facts["sigma"])), ("Evaluate sigma", _evaluated)),
        needs=("method", "backbone", "sigma"),
        blocks=("sigma", "eval_sigma"),
        marks=("bold",),
    ),
}
"""Number in the paper -> what the table is."""
