"""The groups of identity keys."""

import json
from pathlib import Path

from dmaelab.records.identity import CLASSIFIER, IMAGES, NOISE, STATISTICS

HEADER = Path(__file__).parents[1] / "data" / "old_logs" / "cohen-quantised_gaussian" / "header.json"


def test_groups_consist_of_keys_of_a_log_and_do_not_overlap():
    keys = [*STATISTICS, *NOISE, *CLASSIFIER, *IMAGES]
    assert len(keys) == len(set(keys))
    identity = json.loads(HEADER.read_text())["identity"]
    assert set(keys) - identity.keys() == {
        "model",
        "dataset",
        "plugins",
        "own_randomness",
    }  # only logs that come from a config, or of a classifier that draws random numbers, have these
