"""A log is compared with a data set that the user names."""

import shutil

import pytest

from dmaelab.engine import open_certification
from dmaelab.engine.log_data import compare_with_data, open_dataset
from dmaelab.utils.errors import UserError

QUICK = ["certify.device=cpu", "certifier.n=60", "certifier.n0=20", "certify.batch_size=64", "dataset.split=test"]


@pytest.fixture(scope="module")
def log(classifier_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("data") / "out"
    overrides = [*QUICK, f"certify.out_dir={out}", "certify.subset=[3, 4, 5, 6, 7, 8]"]
    return open_certification(classifier_run, overrides).run(progress=False)


def relabel(folder, labels):
    """Write other labels into the rows of a log, and ``correct`` as it follows."""
    path = folder / "shard-000-of-001.tsv"
    columns, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    for row in rows:
        if int(row[0]) in labels:
            row[1] = str(labels[int(row[0])])
            row[4] = str(int(row[2] == row[1]))
    path.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]))


def test_the_data_set_of_each_kind_of_config(log, classifier_run, tmp_path):
    config = tmp_path / "only_data.yaml"
    config.write_text("dataset: {_target_: dmaelab.data.build_dataset, name: digits, split: test}\n")
    for source, overrides in (
        (classifier_run, ["dataset.split=test"]),
        ("digits/finetune_rs", ["dataset.split=test"]),
        (config, []),
    ):
        found = compare_with_data(log, open_dataset(source, overrides))
        assert found == ([], "the labels of all 6 rows are those of the data set")


def test_labels_that_are_not_those_of_the_data_set(log, tmp_path):
    folder = shutil.copytree(log, tmp_path / "log")
    true = open_dataset("digits/finetune_rs", ["dataset.split=test"]).targets
    relabel(folder, {3: 9 - int(true[3]), 7: (int(true[7]) + 1) % 10})
    problems, verdict = compare_with_data(folder, open_dataset("digits/finetune_rs", ["dataset.split=test"]))
    assert problems == [
        f"image 3: label is {9 - int(true[3])}, in the data set it is {int(true[3])}",
        f"image 7: label is {(int(true[7]) + 1) % 10}, in the data set it is {int(true[7])}",
    ]
    assert verdict == "2 labels are not those of the data set"


@pytest.mark.parametrize(
    ("source", "overrides", "words"),
    [
        ("digits/finetune_rs", [], "image 3 is another one in the data set, .* dataset.split=test"),
        ("digits/finetune_rs", ["dataset.splt=test"], "did you mean 'split'"),
        ("digits/finetune_rs", ["certify.device=cpu"], "certify"),
        ("certify/default", [], "certify/default names no data set"),
        ("nothing", [], "there is no config 'nothing'"),
    ],
)
def test_another_data_set_is_refused(log, source, overrides, words):
    with pytest.raises(UserError, match=words) as error:
        compare_with_data(log, open_dataset(source, overrides))
    assert "\n" not in str(error.value)


def test_a_data_set_with_other_classes_or_fewer_images_is_refused(log):
    dataset = open_dataset("digits/finetune_rs", ["dataset.split=test"])
    dataset.classes = dataset.classes[:9]
    with pytest.raises(UserError, match="has 10 classes, but the data set 9"):
        compare_with_data(log, dataset)
    dataset.classes = list("0123456789")
    dataset.targets = dataset.targets[:7]
    with pytest.raises(UserError, match="has image 8, but the data set 7 images"):
        compare_with_data(log, dataset)
