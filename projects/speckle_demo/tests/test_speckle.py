"""The demo project fulfils the contracts, its certifier is sound, and its configs run with the ordinary tools."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import binom

from dmaelab import CERTIFIERS, CORRUPTIONS, LOSSES
from dmaelab.certifiers import ABSTAIN, Case
from dmaelab.certifiers.verification import verify_log
from dmaelab.config import LazyConfig, check, load_plugins, open_config
from dmaelab.engine.training import SECTIONS, check_training, run_training
from dmaelab.records.folders import read_header
from dmaelab.records.readers import read_log
from dmaelab.smoothing import SmoothedClassifier, Smoothing, certify_images
from dmaelab.stats.geometry import GaussianL2
from dmaelab.testing import check_certifier, check_corruption, check_loss, drive
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw

PROJECT = Path(__file__).resolve().parents[1]
ROOT = PROJECT.parents[1]


@pytest.fixture(scope="module", autouse=True)
def _plugin():
    load_plugins({"plugins": ["projects.speckle_demo"]})


def two_looks(**options):
    return CERTIFIERS.build(
        "cohen_two_looks", **{"n0": 5, "n": 60, "alpha": 0.05, "n_first": 20, "target": 0.05, **options}
    )


@pytest.mark.parametrize("sigma", [0.5, (0.1, 0.5)], ids=["one sigma", "a range"])
def test_contract_of_the_corruption(sigma):
    check_corruption(CORRUPTIONS.build("speckle", sigma=sigma))


def test_contract_of_the_certifier():
    check_certifier(two_looks(n0=20, n=400, n_first=100))


def test_contract_of_the_loss():
    check_loss(LOSSES.build("attacked_rs"))


def test_attacks_increase_the_loss_and_the_hook_writes_the_norm(tmp_path):
    """The radius 1e-6 hardly moves the images, so the same steps end with a smaller loss."""
    losses = {}
    for radius in (1e-6, 2.0):
        out = tmp_path / str(radius)
        overrides = [
            "train.init_from=None", "train.max_iter=4", "train.batch_size=64", "train.log_period=4", "train.device=cpu",
            "hooks.0.period=2", "model.classifier.backbone.depth=1", f"model.loss.radius={radius}",
            f"train.out_dir={out}", "train.eval_images=20",
        ]  # fmt: skip
        run_training(open_config(PROJECT / "configs" / "finetune_attacked.py", overrides, SECTIONS))
        records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        assert [record["step"] for record in records if record["weight_norm"] > 0] == [2, 4]
        losses[radius] = records[-1]["loss_ce"]
    assert losses[1e-6] < losses[2.0]


def test_noise_grows_with_the_signal():
    images = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3).expand(1, 1, 20_000, 3)
    noise = CORRUPTIONS.build("speckle", sigma=0.2)(images, Draw(0, "call", 0)).images - images
    assert noise.mean(dim=(0, 1, 2)).abs().max() < 0.01
    torch.testing.assert_close(noise.std(dim=(0, 1, 2)), torch.tensor([0.0, 0.1, 0.2]), rtol=0.03, atol=0)


def test_speckle_certifies_nothing():
    with pytest.raises(UserError, match="Speckle has no geometry"):
        SmoothedClassifier(torch.nn.Flatten(), num_classes=2, sigma=0.5, corruption="speckle")


def wrong_certificates(certifier, p):
    """Return the exact probability of a wrong certificate if a sample is class 0 of two with probability ``p``.

    It is the sum over all outcomes of the selection, of the first look, and of the samples that the second look adds.
    """
    case, first, added = Case(2, GaussianL2(), 0.25), certifier.n_first, certifier.n - certifier.n_first
    wrong = 0.0
    for top, p_top in ((0, p), (1, 1 - p)):
        selected = binom.sf(certifier.n0 // 2, certifier.n0, p_top)
        for early in range(first + 1):
            for late in range(added + 1):

                def votes(stream, total, top=top, early=early, late=late):
                    count = total if stream == "selection" else early if total == first else early + late
                    return np.array([count, total - count, 0] if top == 0 else [total - count, count, 0])

                prediction, radius = drive(certifier, case, votes)
                if prediction != ABSTAIN and radius > case.radius(p_top):
                    wrong += selected * binom.pmf(early, first, p_top) * binom.pmf(late, added, p_top)
    return wrong


@pytest.mark.parametrize("p", [0.5, 0.6, 0.75, 0.9])
def test_wrong_certificates_are_rarer_than_alpha(p):
    assert 0 < wrong_certificates(two_looks(), p) <= 0.05


def test_alpha_must_be_split_between_the_looks():
    """At alpha 0.1 and share 0.5 each look has the level 0.05. Together they are wrong more often than that."""
    assert 0.05 < wrong_certificates(two_looks(alpha=0.1, share=0.5, target=0.0), 0.535) <= 0.1


def test_the_first_look_stops_if_it_reaches_the_target():
    certifier, case = two_looks(n0=10, n=1000, n_first=100, alpha=0.001, target=0.25), Case(2, GaussianL2(), 0.25)

    def votes(stream, total):
        return np.array([total - total // 20 * hard, total // 20 * hard, 0])

    hard = 0
    easy = drive(certifier, case, votes)
    assert (easy.stop_reason, easy.n, easy.look_a, easy.column("alpha_look")) == (
        "first_look",
        100,
        "100/100",
        pytest.approx(0.0002),
    )
    assert easy.radius >= 0.25
    hard = 4
    late = drive(certifier, case, votes)
    assert (late.stop_reason, late.n, late.look_a, late.column("alpha_look")) == (
        "n",
        1000,
        "800/1000",
        pytest.approx(0.0008),
    )
    assert 0 < late.radius < 0.25


@pytest.fixture
def log(tmp_path):
    """Return the log of two images: the first look decides image 0, the second look decides image 1."""
    images = [torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.55, 0.35]]])]
    certifier, noise = two_looks(n0=20, n=1000, n_first=100, target=0.3), CORRUPTIONS.build("gaussian", sigma=0.25)
    certify_images(
        Smoothing(torch.nn.Flatten(), noise, 2), lambda index: (images[index], 0), range(2), certifier,
        out=tmp_path / "log", progress=False,
    )  # fmt: skip
    assert read_log(tmp_path / "log").extra["n"].tolist() == [100, 1000]
    return tmp_path / "log"


def test_a_log_verifies(log):
    assert verify_log(log) == (2, [])


@pytest.mark.parametrize(
    ("index", "cells", "complaint"),
    [
        (0, {"radius": "0.900000"}, "radius is too large"),
        (0, {"radius": "0.900000", "radius_full": "0.9"}, "radius_full is too large"),
        (0, {"p_lower": "0.999"}, "p_lower is too large"),
        (0, {"alpha_look": "0.05"}, "alpha_look is 0.05, its look has 0.01"),
        (0, {"n": "900", "samples": "920", "look_a": "900/900", "count_a": "900"}, "contradict"),
        (0, {"look_a": "100/1000"}, "contradict"),
        (1, {"n": "100", "samples": "120"}, "contradict"),
        (1, {"n0": "2000"}, "contradict"),
        (0, {"stop_reason": "n"}, "would not have stopped after 100 samples as 'n'"),
        (1, {"stop_reason": "first_look"}, "would not have stopped after 1000 samples"),
        (1, {"stop_reason": "bored"}, "stop_reason is 'bored', which is none of first_look, n"),
        (1, {"look_b": "1/1000"}, "claims an upper bound or a two-sided radius"),
        (1, {"radius_two_sided": "0.5"}, "claims an upper bound or a two-sided radius"),
        (1, {"p_upper": "0.1"}, "claims an upper bound or a two-sided radius"),
        (1, {"look_a": "nan"}, "damaged"),
    ],
)
def test_a_falsified_row_is_found(log, index, cells, complaint):
    path = log / "shard-000-of-001.tsv"
    columns, *rows = [line.split("\t") for line in path.read_text().splitlines()]
    for name, cell in cells.items():
        rows[index][columns.index(name)] = cell
    path.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]))
    count, problems = verify_log(log)
    assert count == 2
    assert any(complaint in problem for problem in problems), problems
    assert all(problem.startswith(f"image {index}: ") for problem in problems)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"n_first": 60}, "n_first is 60: the first look takes at least 1 and fewer than n = 60"),
        ({"share": 1.0}, "share is 1.0"),
        ({"target": -0.1}, "target is -0.1"),
        ({"alpha": 2}, "alpha is 2"),
    ],
)
def test_bad_options(options, complaint):
    with pytest.raises(UserError, match=complaint):
        two_looks(**options)


def test_too_few_samples_to_certify_anything():
    with pytest.raises(UserError, match="use n >= 11"):  # CERTIFY needs 10
        two_looks(n=9, n_first=3, alpha=0.001, share=0.5)


@pytest.mark.parametrize("name", ["pretrain", "finetune", "finetune_attacked"])
def test_training_configs(name, tmp_path):
    cfg = open_config(PROJECT / "configs" / f"{name}.py")
    check_training(cfg)
    LazyConfig.save(cfg, tmp_path / "frozen.yaml")
    assert LazyConfig.load(tmp_path / "frozen.yaml") == cfg


def test_certification_config(tmp_path):
    cfg = open_config(PROJECT / "configs" / "certify.py")
    cfg.corruption.sigma = 0.25  # comes from the run that is certified
    check(cfg)
    LazyConfig.save(cfg, tmp_path / "frozen.yaml")
    assert LazyConfig.load(tmp_path / "frozen.yaml") == cfg


def run_tool(name, *arguments):
    command = [sys.executable, str(ROOT / "tools" / name), *map(str, arguments)]
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=one_thread, check=False)


@pytest.mark.slow
def test_pretrain_finetune_certify_with_the_ordinary_tools(tmp_path):
    """Train twenty steps each, then certify two images with the certifier of the config."""
    pretrain, finetune = tmp_path / "pretrain", tmp_path / "rs"
    steps = ["train.max_iter=20", "train.eval_images=10"]
    samples = ["certify.subset=[3, 5]", "certifier.n=300", "certifier.n_first=100"]
    configs = PROJECT / "configs"
    for arguments in (
        ("train_net.py", "--config-file", configs / "pretrain.py", f"train.out_dir={pretrain}", *steps),
        (
            "train_net.py",
            "--config-file",
            configs / "finetune.py",
            f"train.out_dir={finetune}",
            f"train.init_from={pretrain}",
            *steps,
        ),
        ("certify.py", configs / "certify.py", f"certify.run={finetune}", *samples),
    ):
        done = run_tool(*arguments)
        assert done.returncode == 0, done.stderr
    folder = finetune / "certify" / "two_looks"
    assert str(folder) in done.stdout
    identity = read_header(folder)["identity"]
    assert identity["certifier"] == {"name": "cohen_two_looks", "n_first": 100, "share": 0.2, "target": 0.25}
    assert (identity["sigma"], identity["plugins"]) == (0.25, ["projects.speckle_demo"])
    log = read_log(folder)
    assert log.index.tolist() == [3, 5]
    assert set(log.extra["n"]) <= {100, 300}
    assert set(log.extra["stop_reason"]) <= {"first_look", "n"}

    verified = run_tool("certify.py", "--verify", folder, "--plugin", "projects.speckle_demo")
    assert (verified.returncode, verified.stdout) == (0, f"{folder}: all 2 rows follow from their counts\n")
    alone = run_tool("certify.py", "--verify", folder)
    assert (alone.returncode, "the plug-ins ['projects.speckle_demo']" in alone.stderr) == (2, True)

    # The frozen config of the run names the plug-in, so the run can be certified by its directory. Speckle is refused.
    refused = run_tool("certify.py", finetune, "corruption.name=speckle", "certify.name=refused", "certify.subset=[3]")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "Speckle has no geometry" in refused.stderr
