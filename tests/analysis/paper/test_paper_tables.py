import csv
import io
import json
import math
from pathlib import Path

import pytest

from dmaelab.analysis.log_labels import relabel
from dmaelab.analysis.paper.tables import paper_table
from dmaelab.records.readers import read_log
from dmaelab.utils.errors import UserError

LOGS = Path(__file__).parents[2] / "data" / "certify_logs"
EXPECTED = json.loads((LOGS / "expected.json").read_text())


def public(name, **labels):
    (path,) = LOGS.glob(f"*{name}.tsv")
    return relabel(read_log(path), {"method": "RS", "n": 100_000, "n0": 100, "alpha": 0.001, **labels})


def body(*arguments, **options):
    """Return the rows of a table as cells, heads first, and the lines below it."""
    lines = paper_table(*arguments, style="markdown", **options).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
    return [rows[0], *rows[2:]], [line for line in lines[1:] if line and not line.startswith("|")]


@pytest.fixture
def probes(measured):
    return [
        measured("dmae", [8, 6, 5], method="probe", pretrain="DMAE", backbone="ViT-tiny", sigma=0.5),
        measured("mae", [7, 6, 2], method="probe", pretrain="MAE", backbone="ViT-tiny", sigma=0.5),
    ]


def test_table_2_of_public_logs_shows_their_known_accuracies():
    sigmas = ("0.25", "0.50", "1.00")
    logs = [
        public(
            f"imagenet__resnet50__noise_{sigma}__test__sigma_{sigma}",
            backbone="ResNet-50",
            sigma=float(sigma),
            eval_sigma=float(sigma),
        )
        for sigma in sigmas
    ]
    record = json.loads(paper_table(2, logs, style="json"))
    assert [row["sigma"] for row in record["rows"]] == ["0.25", "0.5", "1.0"]
    for row, log in zip(record["rows"], logs, strict=True):
        known = EXPECTED[log.path.name]["cert_acc"]
        assert [cell["share"] for cell in row["cells"]] == pytest.approx(
            [known[f"{radius:.2f}"] for radius in record["radii"]], abs=1e-6
        )
        assert {Path(one["path"]).name for cell in row["cells"] for one in cell["logs"]} == {log.path.name}
    assert [cell["beyond_cap"] for cell in record["rows"][1]["cells"]] == [False] * 4 + [True] * 2
    rows, notes = body(2, logs)
    assert rows[2] == ["0.5", "RS", r"57.2\*", r"45.8\*", r"**37.2**\*\*", r"**28.6**\*\*", "0", "0"]
    assert "427 (hash" in notes[0]
    assert notes[1] == "n = 100000, n0 = 100, alpha = 0.001, l2 radii."
    assert "(1.96, not 1.906)" in notes[-1]  # as they would be at alpha = 0.01


def test_table_1_takes_the_best_sigma_at_each_radius(measured):
    same = {
        "method": "CR",
        "pretrain": "DMAE",
        "backbone": "ViT-B",
        "params": "87M",
        "extra_data": False,
        "dataset": "ImageNet",
    }
    logs = [
        measured("low", [9, 8], 0.25, sigma=0.25, **same),
        measured("other", [7, 6, 5], 0.5, method="MACER (Zhai et al., 2020)", backbone="ResNet-50"),
        measured("mid", [8, 7, 6, 3], 0.5, sigma=0.5, **same),
    ]
    rows, notes = body(1, logs)
    assert rows == [
        ["Method", "#Params", "Extra data", "r=0.5", "r=1.0", "r=1.5", "r=2.0", "r=3.0"],
        ["DMAE ViT-B", "87M", "no", r"**80.0**\*\*", r"**60.0**\*\*", r"**30.0**\*\*", "0", "0"],
        ["MACER (Zhai et al., 2020)", "-", "-", r"60.0\*", r"50.0\*", "0.0", "0", "0"],
    ]
    assert any("best over the sigmas" in note for note in notes)
    record = json.loads(paper_table(1, logs, style="json"))
    assert [cell["logs"][0]["path"] for cell in record["rows"][0]["cells"][:2]] == ["low", "mid"]
    assert record["caption"].endswith(", ImageNet")


def test_rows_with_the_same_name_show_their_differences(measured):
    same = {"pretrain": "DMAE", "backbone": "ViT-B", "sigma": 0.5}
    logs = [
        measured("rs", [5], method="RS", **same),
        measured("cr", [6], method="CR", **same),
        measured("old", [4], method="CR", epochs=700, **same),
    ]
    rows, _ = body(2, logs, radii=[0])
    assert [row[1] for row in rows[1:]] == ["DMAE ViT-B (RS)", "DMAE ViT-B", "DMAE ViT-B (700 epochs)"]
    elsewhere = [measured(method, [3], 0.25, method=method, **same) for method in ("RS", "CR")]
    rows, _ = body(2, [*elsewhere, logs[0]], radii=[0])
    assert [row[:2] for row in rows[1:]] == [
        ["0.25", "DMAE ViT-B (RS, trained at 0.5)"],
        ["", "DMAE ViT-B (trained at 0.5)"],
        ["0.5", "DMAE ViT-B (RS)"],
    ]


def test_table_3_puts_continued_pretraining_below_its_model(measured):
    same = {"method": "CR", "pretrain": "DMAE", "backbone": "ViT-B"}
    logs = [
        measured("continued", [9, 8], continued=True, epochs=50, **same),
        measured("other", [5], method="RS", backbone="ResNet-110"),
        measured("plain", [9, 7], continued=False, epochs=1100, **same),
    ]
    rows, _ = body(3, logs, radii=[0.5])
    assert [row[0] for row in rows[1:]] == ["DMAE ViT-B", "+ continued pre-training", "RS"]
    assert body(3, logs[:1])[0][1][0] == "DMAE ViT-B + continued pre-training"
    assert (
        paper_table(3, logs, style="csv", radii=[0.5]).splitlines()[2] == "DMAE ViT-B + continued pre-training,-,-,80"
    )


def test_table_4_states_gaps_within_blocks(measured, probes):
    probes += [
        measured(name, share, 0.25, method="probe", pretrain=name, backbone="ViT-tiny")
        for name, share in (("MAE", [6, 3]), ("DMAE", [5, 4]))
    ]
    rows, notes = body(4, probes, radii=[0, 0.5, 1, 1.5])
    assert rows == [
        ["sigma", "Method", "r=0.0", "r=0.5", "r=1.0", "r=1.5"],
        ["0.25", "MAE", "60.0", "30.0", "0", "0"],
        ["", "DMAE", "50.0 (-10.0)", "40.0 (+10.0)", "0", "0"],
        ["0.5", "MAE", "70.0", "60.0", "20.0", "0.0"],
        ["", "DMAE", "80.0 (+10.0)", "60.0 (+0.0)", "50.0 (+30.0)", "0.0 (+0.0)"],
    ]
    assert "In brackets: gap to the row with pretrain=MAE, in percentage points. All other labels are equal." in notes


def test_tables_5_and_6_and_9(measured):
    def log(name, share, **labels):
        return measured(name, share, **{"pretrain": "DMAE", "backbone": "ViT-tiny", "method": "CR", **labels})

    epochs = [log("long", [7], epochs=1100), log("short", [6], epochs=700), log("longer", [9], epochs=1600)]
    rows, notes = body(5, epochs, radii=[0])
    assert [row[1:] for row in rows[1:]] == [["700", "60.0"], ["1100", "70.0 (+10.0)"], ["1600", "90.0 (+30.0)"]]
    assert "gap to the row with the fewest epochs" in notes[1]
    methods = [
        log("cr", [7]),
        log("rs", [5], method="RS"),
        log("mae-cr", [4], pretrain="MAE"),
        log("mae-rs", [6], pretrain="MAE", method="RS"),
    ]
    rows, notes = body(6, methods, radii=[0])
    assert [row[1:] for row in rows[1:]] == [["DMAE-tiny+RS", "50.0"], ["DMAE-tiny+CR", "70.0 (+20.0)"]]
    assert notes[-1] == "Not in this table because of their labels: mae-cr, mae-rs."
    rows, _ = body(9, methods, radii=[0])
    assert [row[1:] for row in rows[1:]] == [
        ["MAE-tiny+RS", "60.0"], ["DMAE-tiny+RS", "50.0 (-10.0)"], ["MAE-tiny+CR", "40.0"],
        ["DMAE-tiny+CR", "70.0 (+30.0)"],
    ]  # fmt: skip
    large = [log(f"{name}-large", share, method=name, backbone="ViT-L") for name, share in (("RS", [3]), ("CR", [2]))]
    assert [row[1:] for row in body(6, [*methods[:2], *large], radii=[0])[0][3:]] == [
        ["DMAE-L+RS", "30.0"],
        ["DMAE-L+CR", "20.0 (-10.0)"],
    ]


def test_table_10_crosses_training_and_evaluation(measured):
    same = {"method": "CR", "pretrain": "DMAE", "backbone": "ViT-B"}
    logs = [
        measured("range", [8, 5], 0.25, sigma=[0, 0.75], **same),
        measured("b", [6, 6, 5], 0.5, sigma=0.25, **same),
        measured("a", [9, 4], 0.25, sigma=0.25, **same),
    ]
    rows, notes = body(10, logs, radii=[0, 0.5, 1])
    assert "Not measured: [0, 0.75] at 0.5." in notes
    assert rows == [
        ["Finetune sigma", "Evaluate sigma", "r=0.0", "r=0.5", "r=1.0"],
        ["0.25", "0.25", "**90.0**", "40.0", "0"],
        ["", "0.5", "60.0", "**60.0**", "**50.0**"],
        ["[0, 0.75]", "0.25", "80.0", "50.0", "0"],
    ]
    assert "\n{[}0, 0.75] & 0.25 &" in paper_table(10, logs, style="latex")


def test_seeds_are_one_row(measured):
    logs = [
        measured(f"seed{seed}", [share], method="RS", backbone="ViT-tiny", seed=seed)
        for seed, share in enumerate((5, 6, 8))
    ]
    rows, notes = body(2, logs, radii=[0], intervals=True)
    assert rows[1][2] == r"**63.3 ± 15.3**\*\*"
    assert "±: mean and standard deviation over 3 seeds." in notes
    (row,) = json.loads(paper_table(2, logs, style="json", radii=[0]))["rows"]
    assert row["cells"][0]["share"] == pytest.approx(19 / 30)
    assert row["cells"][0]["sd"] == pytest.approx(math.sqrt(7 / 300))
    assert [(one["seed"], one["count"], one["images"], one["n"]) for one in row["cells"][0]["logs"]] == [
        (0, 5, 10, 10_000),
        (1, 6, 10, 10_000),
        (2, 8, 10, 10_000),
    ]
    assert paper_table(2, logs, style="csv", radii=[0]).splitlines() == [
        "sigma,Method,r=0.0,r=0.0 sd",
        "0.5,RS,63.3333,15.2753",
    ]


def test_csv_has_a_column_for_every_figure(probes):
    rows = list(csv.reader(io.StringIO(paper_table(4, probes, style="csv", radii=[0, 2], intervals=True))))
    kinds = ("", " beyond cap", " gap", " low", " high")
    assert rows[0] == ["sigma", "Method", *(f"r={radius}{kind}" for radius in ("0.0", "2.0") for kind in kinds)]
    assert paper_table(4, paper=True, radii=[0.1], style="csv").splitlines()[0] == "Source,sigma,Method,r=0.1"
    assert rows[2] == ["0.5", "DMAE", "80", "", "10", "44.3905", "97.4789", "0", "yes", "", "", ""]


def test_intervals_are_added_to_entries_of_one_log(probes):
    rows, notes = body(4, probes, radii=[0], intervals=True)
    assert rows[2][2] == "80.0 [44.4, 97.5] (+10.0)"
    assert any(note.startswith("[low, high]: 95 %") for note in notes)
    assert body(4, probes, radii=[0], intervals=True, method="wilson")[0][2][2] == "80.0 [49.0, 94.3] (+10.0)"


def test_rows_of_the_paper_are_ranked_apart(probes):
    rows, notes = body(4, probes, paper=True)
    assert [row[0] for row in rows[1:]] == ["measured"] * 2 + ["paper"] * 6
    assert rows[2][3] == "80.0 (+10.0)"
    assert rows[4][3] == "58.7 (+26.2)"
    assert "Nothing measured is ranked" in notes[-1]
    logs = [relabel(probes[0], {"method": "CR"})]
    rows, _ = body(2, logs, paper=True)
    assert rows[1][3] == r"**80.0**\*\*"  # though the paper prints 82.8
    assert rows[8][3] == r"**82.8**\*\*"
    record = json.loads(paper_table(2, logs, style="json", paper=True))
    assert [row["source"] for row in record["rows"]] == ["measured"] + ["paper"] * 27
    assert record["rows"][1]["cells"][0]["logs"] == []
    assert body(10, paper=True)[0][1] == ["paper", "0.25", "0.25", "**90.4**", "**81.2**", "65.3", "44.2", "0"]


def test_a_lower_bound_has_no_gap(measured):
    sampled = {"certifier": {"name": "sequential", "radii": [0.0]}}
    logs = [
        measured(name, [8, 5], identity=sampled, method="probe", pretrain=name, backbone="ViT-B")
        for name in ("MAE", "DMAE")
    ]
    rows, notes = body(4, logs, radii=[0, 0.5, 2])
    assert rows[2][2:] == ["80.0 (+0.0)", ">=50.0", "0"]
    assert any(note.startswith(">=: lower bound") for note in notes)


def test_json_refers_to_rows_of_its_list(probes):
    rows = json.loads(paper_table(4, probes, style="json", paper=True))["rows"]
    assert [row["compared_with"] for row in rows] == [None, 0, None, 2, None, 4, None, 6]
    assert {rows[row["compared_with"]]["Method"] for row in rows if row["compared_with"] is not None} == {"MAE"}
    assert rows[0]["logs"][0]["path"] == "mae"


def test_csv_marks_lower_bounds(measured):
    sampled = {"certifier": {"name": "sequential", "radii": [0.0]}}
    logs = [
        measured("a", [8, 5], identity=sampled, method="RS", backbone="ViT-B"),
        measured("b", [7, 4], method="CR", backbone="ViT-B"),
    ]
    rows = list(csv.reader(io.StringIO(paper_table(2, logs, style="csv", radii=[0, 0.5]))))
    assert rows == [
        ["sigma", "Method", "r=0.0", "r=0.0 lower bound", "r=0.5", "r=0.5 lower bound"],
        ["0.5", "RS", "80", "", "50", "yes"],
        ["0.5", "CR", "70", "", "40", ""],
    ]


def test_missing_rows_are_named(measured, probes):
    with pytest.raises(UserError) as error:
        paper_table(4, [*probes[:1], measured("cr", [5], method="CR", pretrain="MAE", backbone="ViT-tiny")])
    assert str(error.value) == (
        "table 4 lacks 1 of its rows: MAE at sigma 0.5 (pretrain=MAE method=probe backbone=ViT-tiny"
        " sigma=0.5); not in this table because of their labels: cr; --partial prints the table without them"
    )
    rows, _ = body(4, probes[:1], radii=[0], partial=True)
    assert rows[1:] == [["0.5", "MAE", "-"], ["", "DMAE", "80.0"]]
    run = {"pretrain": "DMAE", "backbone": "ViT-B", "method": "CR"}
    with pytest.raises(
        UserError, match=r"MAE-B.RS at sigma 0.5 .*; DMAE-B.RS at sigma 0.5 .*; MAE-B.CR at sigma 0.5 .*; --partial"
    ):
        paper_table(9, [measured("a", [5], **run)])
    with pytest.raises(
        UserError, match="table 5 compares several epochs, but all its logs have epochs=700: add others"
    ):
        paper_table(5, [measured("a", [5], epochs=700, **run)])
    with pytest.raises(
        UserError,
        match=r"table 5 lacks 1 of its rows: 1100 at sigma 1 \(pretrain=DMAE method=CR backbone=ViT-B epochs=1100"
        r" sigma=1.0\)",
    ):
        paper_table(
            5,
            [measured(f"{epochs}", [5], epochs=epochs, **run) for epochs in (700, 1100)]
            + [measured("b", [5], 1.0, epochs=700, **run)],
        )
    with pytest.raises(
        UserError,
        match=r"none of these logs belongs to table 4\. It takes logs labelled method=probe, pretrain=MAE or DMAE: set",
    ):
        paper_table(4, [measured("a", [5], **run)])


def test_missing_labels_are_named(make_log, measured):
    with pytest.raises(
        UserError,
        match=r"made\.tsv does not say its method, backbone, eval_sigma, n, n0, alpha: add --label hand/made\.tsv"
        r" method=\.\.\. ",
    ):
        paper_table(2, [make_log((0, 0, 1.0))])
    with pytest.raises(UserError, match="a does not say its sigma"):
        paper_table(10, [measured("a", [5], method="RS", backbone="ViT-B")])
    with pytest.raises(
        UserError, match="a does not say its method"
    ):  # the error does not say that the log does not belong to the table
        paper_table(4, [measured("a", [5], pretrain="DMAE", backbone="ViT-B")])


def test_other_bad_input(make_log, measured):
    run = {"method": "RS", "backbone": "ViT-B"}
    with pytest.raises(UserError, match="p contains classes but no radii"):
        paper_table(2, [measured("p", [5], identity={"certifier": {"name": "predict"}}, **run)])
    with pytest.raises(
        UserError,
        match=r"a certifies 4 images at r = 1\.00, but sigma = 0\.25, n = 10000 and alpha = 0\.001 cannot certify more"
        r" than 0\.7996",
    ):
        paper_table(2, [measured("a", [5, 5, 4], 0.25, **run)])
    for arguments, options, message in [
        ((7,), {"paper": True}, "table 7 cannot be made from logs; choose one of 1, 2, 3, 4, 5, 6, 9, 10"),
        ((2,), {}, "table 2 needs logs"),
        ((2,), {"paper": True, "style": "html"}, "'html' is unknown"),
        ((2,), {"paper": True, "radii": [-1]}, r"radii are \[-1\]"),
    ]:
        with pytest.raises(UserError, match=message):
            paper_table(*arguments, **options)
