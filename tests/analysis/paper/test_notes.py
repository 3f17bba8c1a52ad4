"""The lines under a table."""

import pytest

from dmaelab.analysis.paper.tables import paper_table

PROBE = {"method": "probe", "backbone": "ViT-B", "sigma": 0.5}


def test_labels_that_gaps_do_not_compare_are_listed(measured):
    mae = measured("mae", [7], pretrain="MAE", epochs=1600, params="87M", **PROBE)
    dmae = measured("dmae", [8], pretrain="DMAE", epochs=1100, params="87M", schedule="cosine", **PROBE)
    lines = paper_table(4, [mae, dmae]).splitlines()
    assert "In brackets: gap to the row with pretrain=MAE, in percentage points." in lines
    assert (
        "Compared rows also differ in epochs (1100, not 1600), schedule (cosine, not none): DMAE (sigma 0.5)." in lines
    )
    assert "All other labels are equal" not in paper_table(
        9, paper=True
    )  # 1600 epochs of MAE and 1100 of DMAE in the paper


@pytest.mark.parametrize("style", ["text", "markdown", "latex", "json"])
def test_selected_weights_are_always_named(measured, style):
    chosen = {"method": "CR", "backbone": "ViT-B", "pretrain": "DMAE", "selected_by": "acc on data.test"}
    table = paper_table(2, [measured("a", [5], **chosen)], style=style)
    assert "Weights selected by acc on data.test: DMAE ViT-B (sigma 0.5). The certified images may have been" in table
