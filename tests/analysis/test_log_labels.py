import pytest

from dmaelab.analysis.log_labels import label_logs, labels_of, relabel
from dmaelab.utils.errors import UserError


def test_labels_are_read_from_the_header_and_checked(measured):
    log = measured("a", [5], sigma=[0, 0.75], continued=False, note={"b": 1, "a": [2]})
    assert labels_of(log) == {
        "sigma": (0, 0.75), "note": '{"a": [2], "b": 1}', "eval_sigma": 0.5, "n": 10_000, "n0": 100, "alpha": 0.001,
    }  # fmt: skip
    with pytest.raises(UserError, match='the label extra_data is "yes", it should be true or false'):
        labels_of(measured("a", [5], extra_data="yes"))


def test_a_log_without_a_header_has_no_labels(make_log):
    assert labels_of(make_log((0, 0, 1.0))) == {}


def test_values_are_read_as_a_config_would(make_log):
    (log,) = label_logs(
        [make_log((0, 0, 1.0), path="a.tsv")],
        [["a.tsv", "method=MACER (Zhai et al., 2020)", "sigma=[0, .75]", "extra_data=True", "params=87M",
         "eval_sigma=.25"],
         ["a.tsv", "n=100000", "alpha=1e-3", "n0=100", "epochs=700", "continued=false", "pretrain=none"]],
    )  # fmt: skip
    assert labels_of(log) == {
        "method": "MACER (Zhai et al., 2020)", "sigma": (0, 0.75), "extra_data": True, "params": "87M", "epochs": 700,
        "eval_sigma": 0.25, "n": 100000, "n0": 100, "alpha": 0.001,
    }  # fmt: skip
    assert log.identity["sigma"] == 0.25


def test_labels_of_the_header_are_kept_and_replaced(measured):
    log = measured("a", [5], method="RS", note={"any": [1]}, dataset="CIFAR-10")
    labelled = relabel(log, {"method": "CR", "dataset": None, "n": 10_000})
    assert labels_of(labelled) == {
        "method": "CR", "note": '{"any": [1]}', "eval_sigma": 0.5, "n": 10_000, "n0": 100, "alpha": 0.001,
    }  # fmt: skip
    assert labels_of(log)["method"] == "RS"


def test_a_folder_labels_all_logs_below_it(make_log):
    logs = [make_log((0, 0, 1.0), path=path) for path in ("runs/a/certify/x", "runs/a/certify/y", "runs/b")]
    labelled = label_logs(logs, [["runs/a", "method=RS"]])
    assert [labels_of(log).get("method") for log in labelled] == ["RS", "RS", None]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["b.tsv", "method=RS"], r"--label b.tsv: this log is not among those given \(did you mean 'a.tsv'\?\)"),
        (["a.tsv"], "no label follows; give one such as method=RS"),
        (["a.tsv", "method"], "'method' is not of the form key=value, such as method=RS"),
        (["a.tsv", "=RS"], "'=RS' is not of the form key=value"),
        (["a.tsv", "method="], "'method=' is not of the form key=value"),
        (["a.tsv", "seed=1", "seed=2"], "'seed' is given twice"),
        (["a.tsv", "metod=RS"], r"a.tsv: there is no label 'metod' \(did you mean 'method'\?\)"),
        (["a.tsv", "sigma=big"], 'the label sigma is "big", it should be a number > 0 or a pair'),
        (["a.tsv", "sigma=[1, 0]"], r"the label sigma is \[1, 0\]"),
        (["a.tsv", "n=1.5"], "the label n is 1.5, it should be a whole number"),
        (["a.tsv", "alpha=1"], "the label alpha is 1, it should be a number between 0 and 1"),
        (["a.tsv", "extra_data=yes"], 'extra_data is "yes", it should be true or false'),
        (["a.tsv", "eval_sigma=nan"], 'eval_sigma is "nan", it should be a number > 0'),
    ],
)
def test_bad_labels_are_one_line(make_log, words, message):
    with pytest.raises(UserError, match=message) as error:
        label_logs([make_log((0, 0, 1.0), path="a.tsv")], [words])
    assert "\n" not in str(error.value)


def test_a_label_cannot_contradict_the_header(measured):
    with pytest.raises(UserError, match="a: its header says n = 10000, a label cannot change it to 1000"):
        relabel(measured("a", [5]), {"n": 1000})
