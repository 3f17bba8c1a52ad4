"""The labels of trainings and logs: their names, types and meanings.

The section ``labels`` of a training config says what was trained. A certification copies it to the header of its log,
and the tables of the paper group logs by it. :data:`LABELS` is the only list of these labels. The config check, the
inheritance of labels by a fine-tuning, the reader of headers and the option ``--label`` all use it. Labels that are not
in the list are allowed in configs and headers: logs with different values of such a label are different models.

No other module writes the names of labels as text.
"""

from dataclasses import dataclass
from inspect import Parameter, Signature
from typing import Any

from dmaelab.records.kinds import COUNT, LEVEL, SWITCH, Kind, is_number


@dataclass(frozen=True)
class Label:
    """One label.

    Attributes:
        config: type of the value in the section ``labels`` of a training config.
        kind: allowed values in a log. It allows more than ``config``, because logs of others are labelled by hand.
        meaning: description of the label.
        inherited: whether a fine-tuning takes the label from the run whose weights it starts from.
    """

    config: Any
    kind: Kind
    meaning: str
    inherited: bool = False


def _is_positive(value: Any) -> bool:
    return is_number(value) and value > 0


def _is_sigma(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return len(value) == 2 and all(map(is_number, value)) and 0 <= value[0] < value[1]
    return _is_positive(value)


_SCALAR = Kind(lambda value: isinstance(value, str) or is_number(value), "text or a number")
_POSITIVE = Kind(_is_positive, "a number > 0")
_SIGMA_OR_RANGE = Kind(_is_sigma, "a number > 0 or a pair such as [0, 0.75]")

METHOD = "method"
PRETRAIN = "pretrain"
BACKBONE = "backbone"
PARAMS = "params"
EXTRA_DATA = "extra_data"
SIGMA = "sigma"
EPOCHS = "epochs"
CONTINUED = "continued"
DATASET = "dataset"
SEED = "seed"

LABELS = {
    METHOD: Label(str | None, _SCALAR, "method of the fine-tuning, such as RS, CR or probe, or any other text"),
    PRETRAIN: Label(str | None, _SCALAR, "DMAE or MAE; missing if there was no pre-training", inherited=True),
    BACKBONE: Label(str | None, _SCALAR, "name of the network, such as ViT-B"),
    PARAMS: Label(str | None, _SCALAR, "number of parameters as text, such as 87M"),
    EXTRA_DATA: Label(bool | None, SWITCH, "whether other data than the training set was used"),
    SIGMA: Label(
        float | tuple[float, float] | None, _SIGMA_OR_RANGE, "sigma of the training in [0,1] pixel units, or its range"
    ),
    EPOCHS: Label(int | None, _POSITIVE, "epochs of the pre-training", inherited=True),
    CONTINUED: Label(
        bool | None, SWITCH, "whether pre-training was continued on the data set of the fine-tuning", inherited=True
    ),
    DATASET: Label(str | None, _SCALAR, "name of the data set"),
    SEED: Label(int | None, _SCALAR, "seed of the training; logs that differ only in it form one row of a table"),
}
"""Name -> label. These labels describe a training."""

EVAL_SIGMA = "eval_sigma"

CERTIFICATION_SETTINGS = {EVAL_SIGMA: _POSITIVE, "n": COUNT, "n0": COUNT, "alpha": LEVEL}
"""Settings of a certification. The header of a log holds them; for a log without a header, labels do."""

NAME = "label"
"""One more label: the name of a log in a plain table. It never tells two models apart."""

SELECTED_BY = "selected_by"
"""Label that a certification sets: the metric on the test data by which the weights were selected."""

INHERITED = tuple(name for name, label in LABELS.items() if label.inherited)

CONFIG_SECTION = Signature(
    [
        *(Parameter(n, Parameter.KEYWORD_ONLY, default=None, annotation=one.config) for n, one in LABELS.items()),
        Parameter("others", Parameter.VAR_KEYWORD, annotation=Any),
    ]
)
"""What the config check accepts in the section ``labels``: the labels with their types, and any other key."""
