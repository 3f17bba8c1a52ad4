import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from dmaelab.config import LazyConfig, open_config
from dmaelab.engine import open_certification, run_training
from dmaelab.records.folders import read_header
from dmaelab.records.readers import read_log
from dmaelab.utils.errors import ConfigError, UserError

QUICK = [
    "certify.device=cpu",
    "certifier.n=200",
    "certifier.n0=50",
    "certify.batch_size=128",
    'certify.subset={"count": 12}',
]


@pytest.fixture
def run(classifier_run, tmp_path):
    """Return a copy of the trained run, without logs."""
    return shutil.copytree(classifier_run, tmp_path / "run")


def rows(folder):
    """Return the rows of a log by index, without their time."""
    found = {}
    for path in sorted(folder.glob("shard-*.tsv")):
        header, *lines = path.read_text().splitlines()
        names = header.split("\t")
        for line in lines:
            row = dict(zip(names, line.split("\t"), strict=True))
            row.pop("time")
            found[row["idx"]] = row
    return found


def certify(run, name, *overrides, shard=(0, 1)):
    return open_certification(run, [*QUICK, f"certify.name={name}", *overrides]).run(shard, progress=False)


def test_a_bare_run_directory_is_enough(run):
    certification = open_certification(run, QUICK)
    assert certification.sigma == 0.25
    assert certification.cfg.dataset.name == "digits"
    folder = certification.run(progress=False)
    assert folder == run / "certify/default"
    header = json.loads((folder / "header.json").read_text())
    assert header["identity"]["sigma"] == 0.25
    assert header["identity"]["attention"] in ("matmul", "sdpa")
    assert header["context"]["versions"]["torch"]
    log = read_log(folder)
    assert len(log) == 12
    assert log.correct.mean() > 0.2


def test_shards_add_up_to_the_unsharded_log(run):
    whole = rows(certify(run, "whole"))
    for part in (2, 0, 1):
        folder = certify(run, "parts", shard=(part, 3))
    assert len(list(folder.glob("shard-*.tsv"))) == 3
    assert rows(folder) == whole


def test_another_batch_shape_sees_the_same_votes_in_fp32(run):
    counts = []
    for size in (64, 200, 1000):
        found = rows(certify(run, f"batch{size}", f"certify.batch_size={size}"))
        counts.append(
            {index: (row["top"], row["count_a"], row["count_b"], row["runner_up"]) for index, row in found.items()}
        )
    assert counts[0] == counts[1] == counts[2]


def test_predict_writes_its_own_columns(run):
    predict = ["certifier.name=predict", "certifier.n=100"]
    certification = open_certification(
        run, [*predict, "certify.name=predict", "certify.device=cpu", 'certify.subset={"count": 5}']
    )
    folder = certification.run(progress=False)
    header = (folder / "shard-000-of-001.tsv").read_text().splitlines()[0]
    assert header.replace("\t", " ") == "idx label predict radius correct time top count_a n count_b runner_up p_value"


def test_another_certification_does_not_mix_into_a_log(run):
    certify(run, "log")
    with pytest.raises(UserError, match="alpha"):
        certify(run, "log", "certifier.alpha=0.01")


def test_another_sigma_than_the_trained_one_is_warned_of(run, caplog):
    logging.getLogger("dmaelab").propagate = True  # setup_logging turns it off; caplog listens at the root
    certify(run, "half", "corruption.sigma=0.5")
    assert "certifying at sigma 0.5 a model trained at 0.25" in caplog.text


def test_a_range_of_sigma_needs_a_choice(finetune_config, tmp_path):
    run_training(finetune_config("model.corruption.sigma=(0.0, 0.5)", "train.max_iter=1"))
    with pytest.raises(UserError, match=r"trained with sigma in \[0.0, 0.5\]: choose one with corruption.sigma="):
        open_certification(tmp_path / "rs", QUICK)
    open_certification(tmp_path / "rs", [*QUICK, "corruption.sigma=0.25"])


def test_what_cannot_be_certified_is_said_in_one_line(pretrain_config, tmp_path, run):
    run_training(pretrain_config("train.max_iter=1"))
    with pytest.raises(UserError, match="DenoisingMAE, which is not a classifier: certify a fine-tuned run"):
        open_certification(tmp_path / "pretrain", QUICK).run(progress=False)
    with pytest.raises(UserError, match=r"is neither a run directory nor a certification config"):
        open_certification("digits/pretrain")
    with pytest.raises(UserError, match="nowhere: there is no such run directory, and no config of that name"):
        open_certification(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"is not a run directory: it has no config.yaml"):
        open_certification(tmp_path / "empty")
    (run / "model_final.pth").unlink()
    with pytest.raises(UserError, match="the training has not finished"):
        certify(run, "log")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("corruption.sigma=-1.0", "sigma"),
        ("corruption.sigma=0", "without noise there is nothing to certify"),
        ("corruption.sigma=[0.1, 0.2]", "sigma is the range"),
        ("certify.name=../elsewhere", "a plain name"),
        ("certify.device=gpu", "device is 'gpu': choose"),
        ("certifier.n0=0", "n0"),
        ("certifier.n=0", "n is 0"),
        ("certifier.n=5", "n is 5, which can never certify at alpha=0.001.*use n >= 10"),
        ("certifier.alpha=1.5", "alpha"),
        ("certify.batch_size=0", "batch_size"),
        ("certify.precision=fp8", "precision"),
        ("certifier.name=cohn", "did you mean 'cohen'"),
        ("certify.weights=bset", "bset: there is no such file of weights"),
    ],
)
def test_bad_settings_are_named(run, override, message):
    with pytest.raises(UserError, match=message) as caught:
        certify(run, "bad", override)
    assert "\n" not in str(caught.value)


def test_a_certification_config_can_name_the_run(run, tmp_path):
    path = tmp_path / "mine.yaml"
    cfg = open_config("certify/default", [f"certify.run={run}", "certify.name=mine"])
    LazyConfig.save(cfg, path)
    assert open_certification(path).settings.name == "mine"


@pytest.mark.parametrize("override", ["certify.run=%s", "certify={'run': '%s', 'device': 'cpu'}"])
def test_two_runs_are_not_mixed(run, tmp_path, override):
    """The weights of one run at the noise of another, written into the log of the one."""
    other = tmp_path / "other"
    shutil.copytree(run, other)
    cfg = tmp_path / "mine.yaml"
    LazyConfig.save(open_config("certify/default", [f"certify.run={run}"]), cfg)
    for source in (run, cfg) if override.startswith("certify={") else (run,):
        with pytest.raises(ConfigError, match="name only one of them") as error:
            open_certification(source, [override % other])
        assert "\n" not in str(error.value)
    same = override % (run.parent / "." / run.name / "")
    assert open_certification(run, [same]).folder == run / "certify/default"
    with pytest.raises(ConfigError, match="name the run directory to certify"):
        open_certification(run, ["certify.run=None"])


@pytest.mark.parametrize("file", ["model_final.pth", "checkpoints/step_0000002.pth"])
def test_the_weights_of_another_run_are_not_taken(run, tmp_path, file):
    other = tmp_path / "other"
    (other / "checkpoints").mkdir(parents=True)
    shutil.copy(run / "config.yaml", other)
    shutil.copy(run / "model_final.pth", other / file)
    with pytest.raises(UserError, match=f"belongs to the run {other}, and not to {run}"):
        certify(run, "mixed", f"certify.weights={other / file}")
    shutil.copy(run / "model_final.pth", tmp_path / "copy.pth")  # a file in no run is the user's own choice
    certify(run, "copy", f"certify.weights={tmp_path / 'copy.pth'}")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("drop_path", 0.1, r"another certification: .*model"),
        ("num_heads", 4, r"model_final\.pth: trained with num_heads 2, but the model has 4"),
    ],
)
def test_another_model_with_the_same_tensors_is_refused(run, option, value, message):
    certify(run, "log")
    frozen = LazyConfig.load(run / "config.yaml")
    frozen.model.classifier.backbone[option] = value
    LazyConfig.save(frozen, run / "config.yaml")
    with pytest.raises(UserError, match=message):
        certify(run, "log")


def test_the_data_set_of_the_run_can_be_overridden(run):
    certification = open_certification(run, [*QUICK, "dataset.split=test"])
    assert certification.cfg.dataset.split == "test"
    identity = json.loads((certification.run(progress=False) / "header.json").read_text())["identity"]
    assert identity["dataset"]["split"] == "test"


MODULE = """
import torch
from torch import nn

class Corners(nn.Module):
    def __init__(self, scale=1.0, classifier=None):
        super().__init__()
        self.scale, self.inside = scale, classifier
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.scale * self.head(images.flatten(1))

class Noisy(Corners):
    def forward(self, images):
        return super().forward(images + torch.randn_like(images))

def no_module():
    return 3
"""
CONFIG = """
import my_models
from dmaelab.config import LazyCall as L
from dmaelab.corruptions import build_corruption
from dmaelab.data import build_dataset
from dmaelab.smoothing import build_certifier

certify = dict(out_dir="mine", subset={"count": 4}, batch_size=64, device="cpu")
classifier = L(my_models.Corners)(scale=2.0)
certifier = L(build_certifier)(name="cohen", n0=20, n=100, alpha=0.001)
corruption = L(build_corruption)(name="gaussian", sigma=0.25)
dataset = L(build_dataset)(name="digits", split="test")
"""


def test_a_module_with_random_numbers_needs_the_option(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(MODULE)
    (tmp_path / "mine.py").write_text(CONFIG)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    noisy = ["classifier._target_=my_models.Noisy"]
    with pytest.raises(UserError, match=r"Noisy: it draws random numbers, .*certify.own_randomness=True in a config"):
        open_certification("mine.py", noisy).run(progress=False)
    folder = open_certification("mine.py", [*noisy, "certify.own_randomness=True"]).run(progress=False)
    assert len(rows(folder)) == 4
    assert read_header(folder)["identity"]["own_randomness"] is True


def test_any_module_can_be_certified_by_a_config(tmp_path, monkeypatch):
    """A section ``classifier`` instead of a run: restart, shards and tables come with it."""
    (tmp_path / "my_models.py").write_text(MODULE)
    (tmp_path / "mine.py").write_text(CONFIG)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    folder = open_certification("mine.py").run(progress=False)
    assert folder == Path("mine/certify/default")
    assert len(rows(folder)) == 4
    assert read_header(folder)["identity"]["model"]["scale"] == 2.0
    around = ["certify.name=around", "classifier.classifier={'_target_': 'torch.nn.Identity'}"]
    open_certification("mine.py", around).run(progress=False)
    with pytest.raises(
        UserError, match=r"model.scale is 2.0 in the folder, 3.0 now"
    ):  # of the outer one, not of what is inside
        open_certification("mine.py", [*around, "classifier.scale=3.0"]).run(progress=False)
    for overrides, words in (
        (["certify.out_dir=None"], "needs certify.out_dir"),
        (["certify.run=somewhere"], "and no certify.run"),
        (["classifier.sclae=1"], "did you mean 'scale'"),
        (["classifier._target_=my_models.no_module", "~classifier.scale"], "add plugins=.'my_models'."),
        (
            ["classifier._target_=my_models.no_module", "~classifier.scale", "plugins=['my_models']"],
            "builds a int, not a torch.nn.Module",
        ),
    ):
        with pytest.raises(UserError, match=words):
            open_certification("mine.py", overrides).run(progress=False)
