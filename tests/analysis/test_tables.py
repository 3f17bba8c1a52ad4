import json
from pathlib import Path

import pytest

from dmaelab.analysis.tables import default_label, labelled_logs, make_table
from dmaelab.analysis.views import two_sided
from dmaelab.records.readers import read_log
from dmaelab.utils.errors import UserError


@pytest.fixture
def logs(make_log):
    good = make_log((1, 1, 0.6), (1, 2, 0.9), (1, -1, 0.0), (0, 0, 0.3), path="a.tsv")
    skipped = make_log((1, 1, 0.1), (1, 2, 0.0), path="b.tsv", stop_reason=["n", "wrong_class"])
    return [("good", good), ("skipped", skipped)]


def test_text_reaches_as_far_as_any_log(logs):
    header, _, first, second = make_table(logs).splitlines()
    assert header.split() == ["log", "images", "clean", "r=0.25", "r=0.50", "abstain", "ACR", "median"]
    assert first.split() == ["good", "4", "50.0", "50.0", "25.0", "25.0", "0.225", "0.150"]
    assert second.split() == ["skipped", "2", "50.0", "0.0", "0.0", "-", "0.050", "0.050"]


def test_columns_that_say_nothing_are_left_out(make_log):
    rows = [(0, 0, 0.3), (0, 1, 0.3), (0, -1, 0.0)]
    plain, sampled = make_log(*rows), make_log(*rows, samples=[100, 1100, 10100])
    header, _, first, second = make_table([("plain", plain), ("sampled", sampled)]).splitlines()
    assert header.split() == ["log", "images", "clean", "r=0.25", "abstain", "ACR", "samples"]
    assert first.split()[-1] == "-"
    assert second.split()[-1] == "3,767"
    assert make_table([("plain", plain)]).splitlines()[0].split()[-1] == "ACR"


def test_markdown_with_chosen_radii_and_intervals(logs):
    lines = make_table(logs, "markdown", radii=(0.0, 0.125, 2.0), intervals=True).splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert cells[0] == ["log", "images", "clean", "r=0.125", "r=2.00", "abstain", "ACR", "median"]
    assert cells[2] == [
        "good",
        "4",
        "50.0 [6.8, 93.2]",
        "50.0 [6.8, 93.2]",
        "0.0 [0.0, 60.2]",
        "25.0",
        "0.225",
        "0.150",
    ]


def test_json_is_exactly_the_agreed_form(logs):
    records = json.loads(make_table(logs, "json"))
    keys = [
        "file",
        "rows",
        "abstain",
        "certified_accuracy",
        "acr",
        "median",
        "samples",
        "label",
        "norm",
        "native_norm",
        "radius_column",
        "sampled_for",
    ]
    assert [list(record) for record in records] == [keys] * 2
    assert records[0]["file"] == "a.tsv"
    assert list(records[0]["certified_accuracy"]) == [f"{0.25 * k:.2f}" for k in range(13)]
    assert records[0]["certified_accuracy"]["0.50"] == 0.25
    assert records[0]["acr"] == pytest.approx(0.225)
    assert records[0]["median"] == pytest.approx(0.15)
    assert (records[1]["abstain"], records[1]["samples"]) == (None, None)
    record = json.loads(make_table(logs, "json", radii=(0.5,), intervals=True))[0]
    low, high = record["interval"]["0.50"]
    assert low < record["certified_accuracy"]["0.50"] < high


def test_bound_is_rounded_down_and_wilson_is_shorter(logs):
    cell = make_table(logs, radii=(0.5,), intervals=True, method="wilson", bound=0.05, alpha=0.001).splitlines()[2]
    assert "25.0 [4.6, 69.9] (>=1.1)" in cell  # 0.05 quantile of Beta(1, 4): 1.274 %, less 0.001, over 0.999
    record = json.loads(make_table(logs, "json", radii=(0.5,), bound=0.05, alpha=0.001))[0]
    assert record["population_bound"]["0.50"] == pytest.approx((1 - 0.95**0.25 - 0.001) / 0.999, abs=1e-9)
    assert (record["alpha"], record["rho"]) == (0.001, 0.05)


def test_bound_takes_alpha_from_the_header_and_else_asks_for_it(make_log, logs):
    header = {"identity": {"alpha": 0.2, "norm": "l2"}, "context": {}}
    record = json.loads(make_table([("a", make_log((0, 0, 1.0), header=header))], "json", bound=0.5, alpha=0.001))[0]
    assert record["alpha"] == 0.2
    with pytest.raises(UserError, match=r"a\.tsv does not say at which alpha .* --alpha"):
        make_table(logs, bound=0.05)
    for arguments, message in [
        ({"bound": 1.5, "alpha": 0.1}, "failure probability is 1.5"),
        ({"bound": 0.1, "alpha": 1}, "alpha is 1"),
    ]:
        with pytest.raises(UserError, match=message):
            make_table(logs, **arguments)


def test_norms_are_named_unless_all_are_l2(make_log, logs):
    l1 = make_log((0, 0, 0.6), header={"identity": {"norm": "l1"}, "context": {}})
    header, _, first, second, third = make_table([*logs, ("one", l1)]).splitlines()
    assert header.split()[:2] == ["log", "norm"]
    assert [line.split()[1] for line in (first, second, third)] == ["l2", "l2", "l1"]
    assert "norm" not in make_table(logs)


def test_conversion_to_another_norm_names_both_norms(make_log):
    log = make_log((0, 0, 1.2), (0, 0, 0.6), (0, 1, 0.9))
    header, _, line = make_table([("a", log)], norm="linf", shape=(1, 6, 6)).splitlines()
    assert header.split()[:7] == ["log", "norm", "images", "clean", "r=0.05", "r=0.10", "r=0.15"]
    assert line.split()[:5] == ["a", "linf", "from", "l2", "3"]
    assert line.split()[-2:] == ["0.10000", "0.10000"]
    record = json.loads(make_table([("a", log)], "json", norm="l0", shape=(1, 6, 6)))[0]
    assert (record["norm"], record["native_norm"]) == ("l0", "l2")
    assert record["acr"] == pytest.approx(1 / 3)  # 1.2^2 > 1: one value


def test_conversions_as_columns_beside_the_l2_table(make_log):
    log = make_log((0, 0, 1.2), (0, 0, 0.6), (0, 1, 0.9))
    header, _, line = make_table([("a", log)], norms=("l1", "linf", "l0"), shape=(1, 6, 6)).splitlines()
    assert header.split()[-6:] == ["ACR", "l1", "ACR", "linf", "ACR", "l0"]
    assert line.split()[-3:] == ["0.600", "0.10000", "0.333"]
    record = json.loads(make_table([("a", log)], "json", norms=("linf",), shape=(1, 6, 6)))[0]
    assert record["acr_by_norm"] == pytest.approx({"linf": 0.1})


def test_two_sided_table_says_so(make_log):
    log = make_log((0, 0, 0.1), (0, -1, 0.0), top=[0, 0], radius_two_sided=[0.3, 0.4])
    header, _, line = make_table([("a", two_sided(log))]).splitlines()
    assert header.startswith("log (two-sided) ")
    assert line.split() == ["a", "2", "100.0", "100.0", "0.0", "0.350", "0.350"]
    assert json.loads(make_table([("a", two_sided(log))], "json"))[0]["radius_column"] == "radius_two_sided"


def test_labels_that_look_like_numbers_stay_as_they_are(logs):
    assert make_table([("0.250", logs[0][1])]).splitlines()[2].startswith("0.250 ")


def test_unknown_format_is_refused(logs):
    with pytest.raises(UserError, match="'html' is unknown: use one of text, markdown, latex, csv, json"):
        make_table(logs, "html")


def test_latex_and_csv_hold_the_cells_of_the_text(logs):
    assert "good & 4 & 50.0 & 25.0 & 25.0 & 0.225 & 0.150 \\\\" in make_table(logs, "latex", radii=[0.5]).splitlines()
    lines = make_table(logs, "csv", radii=[0.5], intervals=True).splitlines()
    assert lines[0] == "log,images,clean,r=0.50,abstain,ACR,median"
    assert lines[1] == 'good,4,"50.0 [6.8, 93.2]","25.0 [0.6, 80.6]",25.0,0.225,0.150'


def test_what_a_sequential_log_did_not_sample_for_is_marked_as_a_lower_bound(make_log):
    header = {
        "identity": {"norm": "l2", "certifier": {"name": "sequential", "mode": "target", "radii": [0.5]}},
        "context": {},
    }
    log = make_log((0, 0, 0.6), (0, 0, 0.3), (0, -1, 0.0), (0, 0, 0.8), header=header)
    cells = make_table([("a", log)], "markdown", [0.25, 0.5]).splitlines()[2].replace(" ", "").split("|")
    assert cells[1:-1] == ["a", "4", ">=75.0", ">=75.0", "50.0", "-", ">=0.425", ">=0.450"]
    assert ">=0.425" in make_table([("a", log)], "markdown", norms=["l1"]).splitlines()[2].split("|")[-2]
    record = json.loads(make_table([("a", log)], "json"))[0]
    assert (record["sampled_for"], record["abstain"]) == ([0.5], None)
    header["identity"]["certifier"] = {"name": "sequential", "mode": "radius", "radii": None}
    assert ">=" not in make_table([("a", log)], "markdown", [0.25, 0.5])
    header["identity"]["certifier"] = {"name": "sequential", "mode": "grid", "radii": [0.0, 0.5]}
    assert json.loads(make_table([("a", log)], "json"))[0]["abstain"] == 0.25


def test_logs_of_predict_show_their_classes_and_no_radii(make_log, tmp_path):
    answers = make_log(
        (0, 0, 0.0), (0, -1, 0.0), header={"identity": {"certifier": {"name": "predict"}, "shape": [1, 2, 2]}}
    )
    path = tmp_path / "foreign.tsv"  # of another tool, without a column for the radius
    path.write_text("idx\tlabel\tpredict\tcorrect\ttime\n0\t0\t0\t1\t0.1\n1\t0\t-1\t0\t0.1\n")
    logs = [("certified", make_log((0, 0, 0.3), (0, 0, 0.3))), ("ours", answers), ("foreign", read_log(path))]
    for line in make_table(logs, norms=["l1"]).splitlines()[3:]:
        assert line.split()[1:] == [
            "2",
            "50.0",
            "-",
            "50.0",
            "-",
            "-",
            "-",
        ]  # images, clean, r=.25, abstain, ACR, median, ACR l1
    for record in json.loads(make_table(logs, "json", [0.0, 0.25], intervals=True, bound=0.05, alpha=0.001))[1:]:
        assert record["acr"] is record["median"] is None
        for key in ("certified_accuracy", "interval", "population_bound"):
            assert record[key]["0.00"] is not None
            assert record[key]["0.25"] is None


def test_default_labels(make_log):
    header = {"identity": {}, "context": {}}
    assert default_label(make_log((0, 0, 1.0), path="x/noise_0.25.tsv")) == "noise_0.25"
    assert default_label(make_log((0, 0, 1.0), path="x/noise_0.25")) == "noise_0.25"
    assert (
        default_label(make_log((0, 0, 1.0), path=Path("runs/cr/certify/sigma-0.25"), header=header)) == "cr/sigma-0.25"
    )
    assert default_label(make_log((0, 0, 1.0), path=Path("out/mine"), header=header)) == "mine"
    assert (
        default_label(
            make_log((0, 0, 1.0), path=Path("out/mine"), header={**header, "context": {"labels": {"label": "CR"}}})
        )
        == "CR"
    )


def test_logs_of_the_same_name_are_called_by_their_paths(tmp_path):
    paths = [tmp_path / "a" / "sigma_0.25", tmp_path / "b" / "sigma_0.25", tmp_path / "sigma_0.50"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_text("idx\tlabel\tpredict\tradius\n0\t1\t1\t0.5\n")
    assert [label for label, _ in labelled_logs(paths)] == [str(paths[0]), str(paths[1]), "sigma_0.50"]
