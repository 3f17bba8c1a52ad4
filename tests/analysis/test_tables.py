import json
from pathlib import Path

import pytest

from dmaelab.analysis.tables import default_label, make_table
from dmaelab.utils.errors import UserError


@pytest.fixture
def logs(make_log):
    good = make_log((1, 1, 0.6), (1, 2, 0.9), (1, -1, 0.0), (0, 0, 0.3), path="a.tsv")
    skipped = make_log((1, 1, 0.1), (1, 2, 0.0), path="b.tsv", stop_reason=["n", "wrong_class"])
    return [("good", good), ("skipped", skipped)]


def test_text_reaches_as_far_as_any_log(logs):
    header, _, first, second = make_table(logs).splitlines()
    assert header.split() == ["log", "images", "clean", "r=0.25", "r=0.50", "abstain", "ACR"]
    assert first.split() == ["good", "4", "50.0", "50.0", "25.0", "25.0", "0.225"]
    assert second.split() == ["skipped", "2", "50.0", "0.0", "0.0", "-", "0.050"]


def test_markdown_with_chosen_radii_and_intervals(logs):
    lines = make_table(logs, "markdown", radii=(0.0, 0.125, 2.0), intervals=True).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["log", "images", "clean", "r=0.125", "r=2.00", "abstain", "ACR"]
    assert cells[2] == ["good", "4", "50.0 [6.8, 93.2]", "50.0 [6.8, 93.2]", "0.0 [0.0, 60.2]", "25.0", "0.225"]


def test_json_is_exactly_the_agreed_form(logs):
    records = json.loads(make_table(logs, "json"))
    assert [list(record) for record in records] == [["file", "rows", "abstain", "certified_accuracy", "acr"]] * 2
    assert records[0]["file"] == "a.tsv"
    assert list(records[0]["certified_accuracy"]) == [f"{0.25 * k:.2f}" for k in range(13)]
    assert records[0]["certified_accuracy"]["0.50"] == 0.25
    assert records[0]["acr"] == pytest.approx(0.225)
    assert records[1]["abstain"] is None
    record = json.loads(make_table(logs, "json", radii=(0.5,), intervals=True))[0]
    low, high = record["interval"]["0.50"]
    assert low < record["certified_accuracy"]["0.50"] < high


def test_labels_that_look_like_numbers_stay_as_they_are(logs):
    assert make_table([("0.250", logs[0][1])]).splitlines()[2].startswith("0.250 ")


def test_unknown_format_is_refused(logs):
    with pytest.raises(UserError, match="'latex' is unknown: use one of text, markdown, json"):
        make_table(logs, "latex")


def test_default_labels(make_log):
    header = {"context": {}}
    assert default_label(make_log((0, 0, 1.0), path="x/noise_0.25.tsv")) == "noise_0.25"
    assert default_label(make_log((0, 0, 1.0), path=Path("runs/cr/certify/sigma-0.25"), header=header)) == "cr/sigma-0.25"
    assert default_label(make_log((0, 0, 1.0), path=Path("out/mine"), header=header)) == "mine"
    assert default_label(make_log((0, 0, 1.0), path=Path("out/mine"), header={"context": {"label": "CR"}})) == "CR"
