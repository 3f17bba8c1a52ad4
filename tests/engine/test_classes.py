"""Head, training set, test set and weights have the same classes, or nothing is computed.

The tables say what was tried. Each case is an error of one line, before the first step and before the first image.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dmaelab.config import LazyConfig
from dmaelab.data import DATASETS, Dataset
from dmaelab.engine import open_certification, run_evaluation, run_training
from dmaelab.engine.attack import run_attack
from dmaelab.engine.classes import ClassList, check_declared_classes, compare_classes
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.launch.pipeline import Pipeline
from dmaelab.utils.errors import ConfigError, UserError
from dmaelab.weights import load_classifier, save_weights
from dmaelab.weights.files import FACTS

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
BUILD = "dmaelab.data.build_dataset"
QUICK = ["certify.device=cpu", "certifier.n=50", "certifier.n0=10", "certify.batch_size=64"]


def folders(root, **splits):
    """Write four images of 8x8 pixels into each class folder of each split: ``train="a b"`` makes two classes."""
    for split, names in splits.items():
        for label, name in enumerate(names.split()):
            (root / split / name).mkdir(parents=True, exist_ok=True)
            for number in range(4):
                pixels = np.random.default_rng(10 * label + number).integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


def images(root, split, **options):
    return {"_target_": BUILD, "name": "image_folder", "root": str(root), "split": split, **options}


def generated(count, split="train"):
    return {"_target_": BUILD, "name": "generated", "num_classes": count, "split": split, "count": 16, "channels": 3,
            "image_size": 8}  # fmt: skip


@pytest.fixture
def training(finetune_config):
    """Return a function that gives a small training config: head, training set and test set, and further overrides."""

    def make(head, train, test, *overrides, **options):
        base = [
            f"model.classifier.num_classes={head}", "model.classifier.backbone.in_channels=3", "train.batch_size=8",
            "model.classifier.pixel_mean=[0.5,0.5,0.5]", "model.classifier.pixel_std=[0.5,0.5,0.5]",
            "train.max_iter=1", "train.eval_images=None",
        ]  # fmt: skip
        cfg = finetune_config(*base, *overrides, **options)
        cfg.data = {"train": train, "test": test}
        return cfg

    return make


# Head, folders for training, folders for testing -> what the line says.
WRONG = [
    (3, "a b c d", "a b c d", r"data.train has 4 classes, but the head \(model.classifier.num_classes\) has 3: set "),
    (20, "a b c d", "a b c d", r"data.train has 4 classes, but the head \(model.classifier.num_classes\) has 20"),
    (4, "a b c d", "a b c", r"has 3 \(label 3 is 'd' in data.train and missing in data.test\).*classes=\[\.\.\.\]"),
    (4, "a b c d", "a c d", "label 1 is 'b' in data.train and 'c' in data.test, label 2 is 'c' in .*, label 3 is 'd'"),
    (3, "a b c", "a b c d", "data.train has 3 classes, but data.test has 4"),
    (3, "a b c", "b c d", "label 0 is 'a' in data.train and 'b' in data.test, .*set train.ignore_class_names=True"),
    (3, "a b c", "a b x", "other classes: label 2 is 'c' in data.train and 'x' in data.test: choose data with"),
    (12, "a b c d e f g h i j k l", "0 1 2 3 4 5 6 7 8 9 10 11", "in data.test, 9 more labels differ: choose"),
]  # fmt: skip


@pytest.mark.parametrize(("head", "train", "test", "words"), WRONG)
@pytest.mark.parametrize("dry", [False, True], ids=["start", "dry run"])
def test_other_classes_are_refused_before_the_first_step(training, tmp_path, head, train, test, words, dry):
    root = folders(tmp_path / "data", train=train, test=test)
    cfg = training(head, images(root, "train"), images(root, "test"))
    with pytest.raises(ConfigError, match=words) as caught:
        check_declared_classes(cfg) if dry else run_training(cfg)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "rs" / "config.yaml").exists()


# Training set, test set -> what the line says; the head has ten classes.
OTHER_DATA = [
    ({"name": "digits"}, generated(10), "label 0 is '0' in data.train and 'pattern 0' in data.test"),
    ({"name": "cifar10"}, {"name": "fashion_mnist"}, "label 0 is 'airplane' in data.train and 'T-shirt/top'"),
    (generated(10), generated(12), "data.train has 10 classes, but data.test has 12"),
    (generated(3), generated(3), "data.train has 3 classes, but the head"),
    ({"name": "unknown_to_all"}, generated(3), r"has 10 classes, but data.test has 3"),
]  # fmt: skip


@pytest.mark.parametrize(("train", "test", "words"), OTHER_DATA)
def test_a_dry_run_knows_the_classes_without_the_data(training, monkeypatch, tmp_path, train, test, words):
    monkeypatch.delenv("DMAELAB_DATA", raising=False)
    missing = images(tmp_path, "nowhere")
    train, test = (missing if n["name"] == "unknown_to_all" else {"_target_": BUILD, **n} for n in (train, test))
    with pytest.raises(ConfigError, match=words):
        check_declared_classes(training(10, train, test))


class Evens(DATASETS.get("digits")):
    """Other classes than those of its base class, whose ``classes_of`` it inherits."""

    def __init__(self, split="train"):
        super().__init__(split)
        self.targets, self.classes = self.targets // 2, ["0", "2", "4", "6", "8"]


class Unlabelled(Dataset):
    """Sixteen images, of which some have no label."""

    def __init__(self, without=(5, 9), count=16):
        targets = [-1 if index in without else index % 2 for index in range(count)]
        pixels = torch.arange(count * 192).view(count, 3, 8, 8) % 251
        super().__init__(targets, ["even", "odd"], pixels.to(torch.uint8))


EVENS, UNLABELLED = ({"_target_": f"{__name__}.{name}"} for name in ("Evens", "Unlabelled"))


def test_a_dry_run_passes_where_nothing_is_known(training, tmp_path):
    nowhere = images(tmp_path / "nowhere", "train")
    check_declared_classes(training(3, nowhere, nowhere))
    check_declared_classes(training(5, EVENS, EVENS))
    check_declared_classes(training(7, UNLABELLED, UNLABELLED))  # a class of one's own that declares nothing


def test_a_dry_run_reads_no_list_of_images(training, tmp_path, monkeypatch):
    root = folders(tmp_path / "data", train="a b", test="a b")
    monkeypatch.setattr("dmaelab.data.image_folder._image_files", None)
    check_declared_classes(training(2, images(root, "train"), images(root, "test")))
    with pytest.raises(ConfigError, match=r"data.test: .*test/b is a class folder, but 'b' is not in classes"):
        check_declared_classes(training(2, images(root, "train"), images(root, "test", classes=["a", "c"])))


def test_an_autoencoder_needs_no_classes(pretrain_config, tmp_path):
    """Other classes, other numbers, no labels: none of it matters."""
    sizes = ["model.encoder.in_channels=3", "model.pixel_mean=[0.5,0.5,0.5]", "model.pixel_std=[0.5,0.5,0.5]"]
    cfg = pretrain_config(*sizes, "train.batch_size=8", "train.max_iter=2")
    cfg.data = {"train": {**UNLABELLED, "without": list(range(16))}, "test": generated(3)}
    check_declared_classes(cfg)
    run_training(cfg)
    assert run_evaluation(cfg)
    assert "classes" not in torch.load(tmp_path / "pretrain/model_final.pth", weights_only=True)[FACTS]


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (UNLABELLED, {**UNLABELLED, "without": []}, r"data.train: image 5 has no label \(-1\)"),
        ({**UNLABELLED, "without": []}, {**UNLABELLED, "without": [0]}, r"data.test: image 0 has no label \(-1\)"),
    ],
)
def test_a_classifier_is_trained_on_labelled_images(training, train, test, words):
    with pytest.raises(ConfigError, match=words):
        run_training(training(2, train, test))


def test_names_are_ignored_on_request_and_warned_of(training, tmp_path, log_messages):
    root = folders(tmp_path / "data", train="a b c", test="x y z", more="a b c d")
    train, test = images(root, "train"), images(root, "test")
    cfg = training(3, train, test, "train.ignore_class_names=True")
    check_declared_classes(cfg)
    run_training(cfg)
    warned = [text for text in log_messages if "class names differ" in text]
    assert "train.ignore_class_names is set: label 0 is 'a' in data.train and 'x' in data.test" in warned[0]
    run_evaluation(cfg)
    with pytest.raises(ConfigError, match=r"but data.test has 4"):  # the number is never ignored
        run_training(training(3, train, images(root, "more"), "train.ignore_class_names=True", out="more"))


def test_folders_in_label_order_are_the_same_classes(training, tmp_path):
    """A test set that lacks a class of the training set."""
    root = folders(tmp_path / "data", train="a b c", test="a c")
    cfg = training(3, images(root, "train"), images(root, "test", classes=["a", "b", "c"]))
    check_declared_classes(cfg)
    run_training(cfg)


@pytest.fixture
def run(training, tmp_path):
    """Return the run directory of a classifier of the folders a, b, c, and its data."""
    root = folders(tmp_path / "data", train="a b c", test="a b c", moved="b c d", four="a b c d", named="0 1 2")
    run_training(training(3, images(root, "train"), images(root, "test")))
    return tmp_path / "rs", root


def without_classes(path):
    """Remove the class names from a file of weights, as older ones are."""
    content = torch.load(path, weights_only=True)
    del content[FACTS]["classes"]
    torch.save(content, path)


def test_the_names_are_kept_with_the_weights(run):
    folder, _ = run
    for path in (folder / "model_final.pth", folder / "checkpoints/step_0000001.pth"):
        assert torch.load(path, weights_only=True)[FACTS]["classes"] == ["a", "b", "c"]
    assert RunDirectory(folder).model("final", CPU).export().class_names == ["a", "b", "c"]
    assert load_classifier(folder / "model_final.pth").class_names == ["a", "b", "c"]


def test_the_average_keeps_them_too(training, tmp_path):
    cfg = training(3, generated(3), generated(3, "test"), "train.ema_decay=0.5")
    run_training(cfg)
    names = torch.load(tmp_path / "rs/model_final.pth", weights_only=True)[FACTS]["classes"]
    assert names == ["pattern 0", "pattern 1", "pattern 2"]


# Split of the data set, whether names are ignored -> what the line says, or None.
CERTIFIED = [
    ("test", False, None),
    ("moved", False, r"the classifier of .*rs and 'b' in dataset.*set certify.ignore_class_names=True"),
    ("moved", True, None),
    ("named", False, "label 0 is 'a' in the classifier of .*rs and '0' in dataset, label 1 is 'b'"),
    ("named", True, None),
    ("four", False, r"but dataset has 4 \(label 3 is missing in .* and 'd' in dataset\): set the section"),
    ("four", True, "rs has 3 classes, but dataset has 4"),
]  # fmt: skip


@pytest.mark.parametrize(("split", "ignore", "words"), CERTIFIED)
def test_a_certification_compares_the_classes_of_weights_and_data(run, log_messages, split, ignore, words):
    folder, _ = run
    asked = [*QUICK, f"dataset.split={split}", f"certify.ignore_class_names={ignore}", "certify.subset=[0]"]
    certification = open_certification(folder, asked)
    if words is None:
        certification.check_classes()
        header = json.loads((certification.run(progress=False) / "header.json").read_text())
        assert not {"class_names", "classes_names", "ignore_class_names"} & header["identity"].keys()
    else:
        for call in (certification.check_classes, certification.run):
            with pytest.raises(UserError, match=words) as caught:
                call()
            assert "\n" not in str(caught.value)
        assert not certification.folder.exists()
    assert any("class names differ, but certify.ignore" in text for text in log_messages) == (ignore and words is None)


def test_older_weights_know_the_number_only(run):
    folder, _ = run
    without_classes(folder / "model_final.pth")
    moved = open_certification(folder, [*QUICK, "dataset.split=moved", "certify.subset=[0]"])
    moved.check_classes()
    moved.run(progress=False)
    four = open_certification(folder, [*QUICK, "dataset.split=four"])
    for call in (four.check_classes, four.run):
        with pytest.raises(UserError, match="rs has 3 classes, but dataset has 4"):
            call()


def test_the_names_in_the_weights_win_over_the_training_set_of_today(run):
    """It may have been changed, or lie elsewhere with other folders."""
    folder, root = run
    folders(root, train="0")
    for name in ("final", "step_0000001"):
        open_certification(folder, [*QUICK, f"certify.weights={name}"]).check_classes()


def test_an_attack_compares_too(run):
    folder, root = run
    open_certification(folder, [*QUICK, "certify.subset=[0, 5, 9]"]).run(progress=False)
    for name in ("a", "b", "c"):  # the same images in folders of other names, in the same order
        (root / "test" / name).rename(root / "test" / f"{name}{name}")
    with pytest.raises(UserError, match=r"label 0 is 'a' in the classifier of .* and 'aa' in dataset"):
        run_attack(open_certification(folder, QUICK), images=1)


def test_an_evaluation_compares_too(run, training):
    folder, root = run
    train = images(root, "train")
    assert run_evaluation(training(3, train, images(root, "test")))
    with pytest.raises(UserError, match=f"label 0 is 'a' in the classifier of {folder} and 'b' in data.test"):
        run_evaluation(training(3, train, images(root, "moved")))
    with pytest.raises(UserError, match=f"the classifier of {folder} has 3 classes, but data.test has 4"):
        run_evaluation(training(3, train, images(root, "four"), "train.ignore_class_names=True"))


def test_a_resumed_run_has_the_classes_of_its_checkpoint(run, training):
    folder, root = run
    train, test = images(root, "moved"), images(root, "moved")
    with pytest.raises(UserError, match=r"label 0 is 'b' in data.train and 'a' in the checkpoint"):
        run_training(training(3, train, test, "train.max_iter=2"), resume=True, allow_changes=True)
    cfg = training(3, train, test, "train.max_iter=2", "train.ignore_class_names=True")
    run_training(cfg, resume=True, allow_changes=True)
    names = torch.load(folder / "model_final.pth", weights_only=True)[FACTS]["classes"]
    assert names == ["b", "c", "d"]  # those that label k means from now on


def test_a_head_of_other_classes_is_a_start_with_a_warning(run, training, tmp_path):
    folder, root = run
    start = f"train.init_from={folder}"
    run_training(training(3, images(root, "moved"), images(root, "moved"), start, out="moved"))
    there, here = f"{folder}/model_final.pth", "data.train"
    words = f"the initial weights of the head are those of other classes: label 0 is 'a' in {there} and 'b' in {here}, "
    assert words in (tmp_path / "moved/log.txt").read_text()
    run_training(training(3, images(root, "train"), images(root, "test"), start, out="same"))
    assert "other classes" not in (tmp_path / "same/log.txt").read_text()


def test_unlabelled_images_are_certified_by_no_one(training, tmp_path):
    """Those that are not certified need no label."""
    labelled = {**UNLABELLED, "without": []}
    run_training(training(2, labelled, labelled))
    asked = [*QUICK, "dataset.without=[5, 9]"]
    with pytest.raises(UserError, match=r"dataset: image 5 has no label \(-1\)"):
        open_certification(tmp_path / "rs", asked).run(progress=False)
    with pytest.raises(UserError, match=r"dataset: image 9 has no label \(-1\)"):
        open_certification(tmp_path / "rs", [*asked, "certify.subset=[3, 9]"]).run(progress=False)
    open_certification(tmp_path / "rs", [*asked, "certify.subset=[3, 4]"]).run(progress=False)


MODULE = """
import torch

class Net(torch.nn.Module):
    class_names = ["x", "y", "z"]  # its own business

    def __init__(self, num_classes=3):
        super().__init__()
        self.num_classes = num_classes
        self.head = torch.nn.Linear(3 * 8 * 8, num_classes)

    def forward(self, images):
        return self.head(images.flatten(1))
"""


@pytest.mark.parametrize("count", [3, 4])
def test_a_module_of_ones_own_is_compared_by_its_number(tmp_path, monkeypatch, count):
    (tmp_path / "my_net.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    root = folders(tmp_path / "data", test="a b c")
    cfg = LazyConfig.load(ROOT / "configs/certify/default.py")
    cfg.classifier = {"_target_": "my_net.Net", "num_classes": count}
    cfg.dataset, cfg.corruption.sigma = images(root, "test"), 0.25
    cfg.certify.out_dir, cfg.certify.subset = str(tmp_path / "log"), [0]
    LazyConfig.save(cfg, tmp_path / "mine.yaml")
    certification = open_certification(tmp_path / "mine.yaml", [*QUICK, "plugins=['my_net']"])
    if count == 3:
        certification.check_classes()
        certification.run(progress=False)
        return
    for call in (certification.check_classes, certification.run):
        with pytest.raises(UserError, match="the classifier has 4 classes, but dataset has 3: set the section dataset"):
            call()


def test_a_pipeline_compares_all_stages_before_the_first(training, tmp_path):
    root = folders(tmp_path / "data", train="a b c", test="a b c", moved="b c d")
    good, bad = (training(3, images(root, "train"), images(root, split)) for split in ("test", "moved"))
    for name, cfg in (("good", good), ("bad", bad)):
        LazyConfig.save(cfg, tmp_path / f"{name}.yaml")

    def pipeline(train, *certify):
        stages = [
            {"name": "rs", "config": str(tmp_path / f"{train}.yaml")},
            {"name": "certified", "certify": "rs", "overrides": [*QUICK, "certify.subset=[0]", *certify]},
        ]
        settings = {"out_dir": str(tmp_path / "out"), "radii": [0.0]}
        LazyConfig.save({"pipeline": settings, "stages": stages}, tmp_path / "pipeline.yaml")
        return Pipeline(LazyConfig.load(tmp_path / "pipeline.yaml"))

    with pytest.raises(
        ConfigError, match=r"stage 'rs': other classes: label 0 is 'a' in data.train and 'b' in data.test"
    ):
        pipeline("bad")
    words = "stage 'certified': other classes: label 0 is 'a' in data.train of .*rs and 'b' in dataset"
    with pytest.raises(ConfigError, match=words):
        pipeline("good", "dataset.split=moved")
    pipeline("good", "dataset.split=moved", "certify.ignore_class_names=True")
    pipeline("good").run()
    with pytest.raises(ConfigError, match=r"label 0 is 'a' in the classifier of .*rs and 'b' in dataset"):
        pipeline("good", "dataset.split=moved")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("layout", ["dmaelab", "official", "timm"])
def test_converted_weights_keep_the_names(run, tmp_path, layout, suffix):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    model = RunDirectory(run[0]).model("final", CPU)
    save_weights(model, tmp_path / f"one.{suffix}", layout)
    again = load_classifier(tmp_path / f"one.{suffix}")
    assert again.class_names == ["a", "b", "c"]
    save_weights(again, tmp_path / f"two.{suffix}")
    assert load_classifier(tmp_path / f"two.{suffix}").class_names == ["a", "b", "c"]


@pytest.mark.parametrize("names", [["a", "b"], "abc", 3, ["a", "b", 3], {"a": 1}])
def test_names_that_do_not_fit_the_head_are_refused(run, names):
    path = run[0] / "model_final.pth"
    content = torch.load(path, weights_only=True)
    content[FACTS]["classes"] = names
    torch.save(content, path)
    for call in (lambda: RunDirectory(run[0]).model("final", CPU), lambda: load_classifier(path)):
        with pytest.raises(UserError, match=f"{path}: its fact 'classes' (has 2 names|is not a list of names)"):
            call()


def test_lists_that_are_not_known_are_not_compared():
    two = ClassList("here", 2, ("a", "b"))
    for lists in ([], [None], [None, two], [two, None, ClassList("there", 2)], [ClassList("there", 2), two, two]):
        compare_classes(lists, "train")


def command(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_the_commands_refuse_in_a_dry_run(run, training, tmp_path):
    folder, root = run
    LazyConfig.save(training(3, images(root, "train"), images(root, "moved"), out="new"), tmp_path / "bad.yaml")
    for ended in (
        command("tools/train_net.py", "--dry-run", "--config-file", tmp_path / "bad.yaml"),
        command("tools/certify.py", "--dry-run", folder, "dataset.split=moved"),
    ):
        assert ended.returncode == 2
        assert ended.stderr.startswith("error: other classes: label 0 is 'a' in ")
        assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_all_processes_of_a_training_refuse_alike(training, tmp_path):
    root = folders(tmp_path / "data", train="a b c d", test="a b c d")
    LazyConfig.save(training(3, images(root, "train"), images(root, "test")), tmp_path / "bad.yaml")
    ended = command("tools/train_net.py", "--processes", "2", "--config-file", tmp_path / "bad.yaml")
    assert ended.returncode == 2
    assert "data.train has 4 classes, but the head (model.classifier.num_classes) has 3" in ended.stderr
    assert not (tmp_path / "rs/config.yaml").exists()


def test_a_process_with_other_folders_is_noticed(training, tmp_path, monkeypatch):
    """As on a machine whose copy of the data differs: the names of the other process come by the exchange."""
    root = folders(tmp_path / "data", train="a b c", test="a b c")
    cfg = training(3, images(root, "train"), images(root, "test"))
    for other, words in (
        (("a", "b", "x"), "label 2 is 'c' in data.train and 'x' in data.train of process 1"),
        (("a", "b"), "data.train has 3 classes, but data.train of process 1 has 2"),
    ):
        there = ClassList("data.train", len(other), other)
        monkeypatch.setattr("dmaelab.engine.classes.gather", lambda mine, there=there: [mine, (there, *mine[1:])])
        with pytest.raises(UserError, match=words):
            run_training(cfg)
