import math

import pytest

from dmaelab.records.log import CertificationLog
from dmaelab.records.row import CERTIFY_COLUMNS, make_row

IDENTITY = {
    "sigma": 0.25,
    "alpha": 0.001,
    "certifier": {"name": "cohen"},
    "shape": (1, 8, 8),
    "subset": {"count": 4, "hash": "ab"},
}
CONTEXT = {"command": ["certify"], "torch": "2.0"}


@pytest.fixture
def open_log(tmp_path):
    """Open (or continue) a log in a temporary folder; keywords replace arguments."""

    def open_(name="run", **changes):
        arguments = {"identity": IDENTITY, "context": CONTEXT, "columns": CERTIFY_COLUMNS, **changes}
        return CertificationLog(tmp_path / name, **arguments)

    return open_


@pytest.fixture
def row():
    """Make a row; the radius has more digits than the log's column of that name."""

    def make(index, label=3, prediction=3, radius=0.1 + 0.2, seconds=0.5):
        extra = {column: math.nan for column in CERTIFY_COLUMNS} | {
            "top": label,
            "radius_full": radius,
            "stop_reason": "n",
        }
        return make_row(index, label, prediction, radius, seconds, extra)

    return make
