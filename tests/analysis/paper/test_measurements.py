"""Which logs may share a row of a table, and which may be compared by its gaps."""

import json
from dataclasses import replace

import pytest

from dmaelab.analysis.log_labels import relabel
from dmaelab.analysis.paper.tables import paper_table
from dmaelab.utils.errors import UserError

RUN = {"method": "RS", "backbone": "ViT-B"}
PROBE = {"method": "probe", "backbone": "ViT-B", "sigma": 0.5}


NATIVE = {
    "certifier": {"name": "cohen", "skip_wrong": False},  # skip_wrong changes no number of a table
    "corruption": {"name": "gaussian"},
    "geometry": "dmaelab.stats.geometry.GaussianL2",
    "shape": [3, 32, 32],
    "first_image": "abc",
}


def records(*arguments, **options):
    return json.loads(paper_table(*arguments, style="json", **options))


def test_two_logs_for_one_cell_are_named(measured):
    for number in (1, 2):  # the training sigma defaults to the evaluation sigma
        with pytest.raises(UserError) as error:
            paper_table(number, [measured("a", [5], **RUN), measured("b", [6], sigma=0.5, **RUN)])
        assert str(error.value) == (
            f"a and b are two logs for one cell of table {number}: they have the same labels, and are evaluated at"
            " sigma 0.5; correct a wrong label, or leave one log out, or give each log its seed, such as --label b"
            " seed=1"
        )
    with pytest.raises(UserError, match=r"they have the same labels, and only one has a seed, and are evaluated at"):
        paper_table(2, [measured("a", [5], **RUN), measured("b", [6], seed=1, **RUN)])
    old = measured("old", [5], pretrain="DMAE", epochs=700, **PROBE)
    with pytest.raises(
        UserError, match="new and old are two logs for one cell of table 4, they differ in epochs: leave one out"
    ):
        paper_table(
            4, [measured("new", [8], pretrain="DMAE", **PROBE), measured("mae", [7], pretrain="MAE", **PROBE), old]
        )


def test_one_log_is_not_two_seeds_nor_two_sigmas(measured):
    seeds = [measured(f"s{seed}", [5], seed=seed, **RUN) for seed in (0, 1)]
    with pytest.raises(
        UserError, match="s0 and s1 share a row of table 2, but they are the same log: all their rows are equal; leave"
    ):
        paper_table(2, seeds)
    with pytest.raises(UserError, match="s0 and s1 share a row of table 1, but they are the same log"):
        paper_table(
            1,
            [
                seeds[0],
                relabel(
                    replace(seeds[1], header=None), {**RUN, "n": 10_000, "n0": 100, "alpha": 0.001, "eval_sigma": 1.0}
                ),
            ],
        )
    with pytest.raises(
        UserError, match="s0 and s1 are labelled as two seeds, but they have the same weights: leave one out"
    ):
        paper_table(2, [measured(f"s{seed}", [5], seed=seed, identity={"weights": "abc"}, **RUN) for seed in (0, 1)])
    alike = [measured(f"s{seed}", [5], seed=seed, identity={"weights": f"{seed}"}, **RUN) for seed in (0, 1)]
    assert records(2, alike)["rows"][0]["cells"][0]["sd"] == 0  # two models with equal rows: their weights differ


def test_seeds_are_of_one_network(measured):
    def seeds(**other):
        backbones = {"width": 4, "attention": "sdpa"}, {"width": 4, **other}
        models = [{"model": {"backbone": backbone}} for backbone in backbones]
        return [
            measured(f"s{seed}", [5 + seed], seed=seed, identity=model, run=f"r{seed}", **RUN)
            for seed, model in enumerate(models)
        ]

    paper_table(2, seeds(attention="matmul"))
    # Logs of other modules belong to no run. Their config may name the weights, or they have none.
    for models in ([{"model": {"weights": f"{seed}.pth"}} for seed in (0, 1)], [{}, {}]):
        paper_table(2, [measured(f"s{seed}", [5 + seed], seed=seed, identity=models[seed], **RUN) for seed in (0, 1)])
    with pytest.raises(
        UserError, match=r"labelled as two seeds of one model, but model\.backbone\.width is 4 in s0, 8 in s1"
    ):
        paper_table(2, seeds(attention="matmul", width=8))


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("n", {"n": 1000}),
        ("n0", {"n0": 10}),
        ("alpha", {"alpha": 0.01}),
        ("norm", {"identity": {**NATIVE, "norm": "l1"}}),
        ("images", {"index": range(10, 20)}),
        ("shape", {"identity": {**NATIVE, "shape": [3, 224, 224]}}),
        ("corruption.name", {"identity": {**NATIVE, "corruption": {"name": "quantised_gaussian"}}}),
        ("geometry", {"identity": {**NATIVE, "geometry": "dmaelab.stats.geometry.QuantisedGaussianL2"}}),
        ("first_image", {"identity": {**NATIVE, "first_image": "other"}}),
        (
            "certifier.name",
            {"identity": {**NATIVE, "certifier": {"name": "sequential", "skip_wrong": True, "radii": [0.5]}}},
        ),
    ],
)
def test_logs_with_different_settings_are_not_compared(measured, key, other):
    same, other = {**PROBE, "identity": NATIVE}, {"identity": NATIVE, **other}
    pair = [measured("a", [5], pretrain="MAE", **same), measured("b", [5], pretrain="DMAE", **{**same, **other})]
    with pytest.raises(UserError, match=f"a gap of table 4 is between a and b, but {key} is .* in a, .* in b"):
        paper_table(4, pair)
    row = [measured("a", [5], 0.25, pretrain="MAE", **same), measured("b", [5], pretrain="MAE", **{**same, **other})]
    with pytest.raises(UserError, match=f"a and b share a row of table 1, but {key} is .* in a, .* in b"):
        paper_table(1, row)
    note = records(2, pair)["notes"][0]
    assert note.startswith(f"Rows differ in {key.split('.')[0]}: ")
    assert "in MAE ViT-B (probe) (sigma 0.5); " in note


def test_settings_are_compared_where_both_headers_have_them(measured):
    noise = {"corruption": {"name": "uniform", "width": 1}, "shape": [3, 32, 32]}
    pair = [
        measured("a", [5], pretrain="MAE", identity={"shape": [3, 32, 32]}, **PROBE),
        measured("b", [6], pretrain="DMAE", identity=noise, **PROBE),
    ]
    assert records(4, pair)["rows"][1]["cells"][0]["gap"] == pytest.approx(0.1)
    first = measured("c", [7], pretrain="MAE", seed=1, identity={"corruption": {"name": "laplace"}}, **PROBE)
    with pytest.raises(
        UserError, match=r"table 4 is between c and b, but corruption\.name is .laplace. in c, .uniform. in b"
    ):
        paper_table(4, [relabel(pair[0], {"seed": 0}), first, pair[1]])  # all pairs of logs of the two rows are checked


def test_data_sets_are_those_of_labels_or_headers(measured):
    cifar, digits = ({"identity": {"dataset": {"name": name, "split": "test"}}} for name in ("cifar10", "digits"))
    with pytest.raises(UserError, match=r"a \(ImageNet\) and b \(CIFAR-10\) use different data sets"):
        paper_table(2, [measured("a", [5], dataset="ImageNet", **RUN), measured("b", [6], dataset="CIFAR-10", **RUN)])
    with pytest.raises(UserError, match=r"a \(cifar10\) and b \(digits\) use different data sets"):
        paper_table(
            2, [measured("a", [5], dataset="CIFAR-10", **RUN, **cifar), measured("b", [6], 1.0, **RUN, **digits)]
        )
    named = [
        measured("a", [5], dataset="CIFAR-10", **RUN, **cifar),
        measured("b", [6], 1.0, dataset="CIFAR-10", **RUN, **digits),
    ]
    assert "data set" not in paper_table(2, named)  # the labels win over the headers
    assert paper_table(2, [named[0], measured("c", [6], 1.0, **RUN)]).endswith("\nNot labelled with a data set: c.")
