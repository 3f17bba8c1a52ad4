"""What a row of a table contains, and how rows are named."""

import json

import pytest

from dmaelab.analysis.paper.tables import paper_table

RUN = {"method": "RS", "backbone": "ViT-B"}


def records(*arguments, **options):
    return json.loads(paper_table(*arguments, style="json", **options))


def test_a_range_of_sigma_is_a_row_of_its_own(measured):
    same = {"method": "CR", "pretrain": "DMAE", "backbone": "ViT-B"}
    logs = [
        measured("wide", [7], 0.25, sigma=[0, 0.75], **same),
        measured("wide1", [9, 9, 9], 1.0, sigma=[0, 0.75], **same),
        measured("low", [8], 0.25, sigma=0.25, **same),
        measured("mid", [8, 6], 0.5, sigma=0.5, **same),
    ]
    rows = records(1, logs, radii=[0, 0.5])["rows"]
    assert [row["Method"] for row in rows] == ["DMAE ViT-B", "DMAE ViT-B (trained at [0, 0.75])"]
    assert [cell["share"] for row in rows for cell in row["cells"]] == [0.8, 0.6, 0.9, 0.9]


def test_every_log_of_a_row_is_kept(measured):
    """The log at 0.25 is the best at no radius, but a note still names its too large radius."""
    same = {"method": "CR", "pretrain": "DMAE", "backbone": "ViT-B"}
    logs = [measured("low", [1, 1, 1], 0.25, **same), measured("mid", [8, 6], 0.5, **same)]
    table = records(1, logs, radii=[0.5])
    assert [one["path"] for one in table["rows"][0]["logs"]] == ["low", "mid"]
    assert [one["path"] for one in table["rows"][0]["cells"][0]["logs"]] == ["mid"]
    assert any("low (1.25, not 0.7996)" in note for note in table["notes"])


def test_the_best_of_several_sigmas_is_exact_if_all_of_them_are(measured):
    sampled = {"certifier": {"name": "sequential", "radii": [0.0]}}
    logs = [measured("low", [6, 2], 0.25, identity=sampled, **RUN), measured("mid", [8, 6, 4], 0.5, **RUN)]
    cells = records(1, logs, radii=[0, 0.5, 1])["rows"][0]["cells"]
    assert [(cell["share"], cell["lower_bound"]) for cell in cells] == [(0.8, False), (0.6, True), (0.4, False)]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_models_are_named_with_their_method(measured, number):
    logs = [
        measured(method, [share], method=method, pretrain="DMAE", backbone="ViT-B", continued=continued)
        for share, (method, continued) in enumerate([("CR", False), ("probe", False), ("probe", True)], start=4)
    ]
    assert [row["Method"] for row in records(number, logs)["rows"]] == [
        "DMAE ViT-B", "DMAE ViT-B (probe)", "DMAE ViT-B (probe) + continued pre-training",
    ]  # fmt: skip
