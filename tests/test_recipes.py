"""The configs of the paper's experiments: their values, the figures in their headers, a trial of each in seconds."""

import itertools
import json

import pytest

from dmaelab.analysis.paper.published import printed_rows
from dmaelab.config import get_config, instantiate, list_configs, open_config
from dmaelab.config.zoo import _folders
from dmaelab.engine import run_training
from dmaelab.engine.settings import TrainSettings
from dmaelab.engine.training import SECTIONS
from dmaelab.launch.pipeline import Pipeline
from dmaelab.launch.stages import PipelineSettings

PAPER = [name for name in list_configs() if name.startswith(("imagenet/", "cifar10_224/"))]
TABLES = [name for name in list_configs() if name.startswith("pipelines/table")]
IMAGENET, CIFAR = 1281167, 50000

# config: base rate -> rate, images, batch, epochs, warm-up, steps, final rate (dmae_reference: sections 3, 4 and 5;
# Tables 7, 8)
SCHEDULES = {
    "imagenet/pretrain_base": (1.5e-4, 2.4e-3, IMAGENET, 4096, 1100, 40, 312 * 1100, 0),
    "imagenet/pretrain_large": (1.5e-4, 2.4e-3, IMAGENET, 4096, 1600, 40, 312 * 1600, 0),
    "imagenet/pretrain_huge": (1.5e-4, 2.4e-3, IMAGENET, 4096, 1600, 40, 312 * 1600, 0),
    "imagenet/pretrain_mae_base": (1.5e-4, 2.4e-3, IMAGENET, 4096, 1600, 40, 312 * 1600, 0),
    "imagenet/finetune_base_cr": (5e-4, 2e-3, IMAGENET, 1024, 100, 5, 1251 * 100, 1e-6),
    "imagenet/finetune_base_rs": (5e-4, 2e-3, IMAGENET, 1024, 100, 5, 1251 * 100, 1e-6),
    "imagenet/finetune_large_cr": (1e-3, 4e-3, IMAGENET, 1024, 50, 5, 1251 * 50, 1e-6),
    "imagenet/finetune_large_rs": (1e-3, 4e-3, IMAGENET, 1024, 50, 5, 1251 * 50, 1e-6),
    "imagenet/probe_base": (0.1, 6.4, IMAGENET, 16384, 90, 10, 78 * 90, 0),
    "cifar10_224/pretrain": (5e-5, 1e-4, CIFAR, 512, 50, 10, 97 * 50, 0),
    "cifar10_224/finetune_cr": (5e-4, 5e-4, CIFAR, 256, 50, 5, 195 * 50, 1e-6),
    "cifar10_224/finetune_rs": (5e-4, 5e-4, CIFAR, 256, 50, 5, 195 * 50, 1e-6),
    "cifar10_224/finetune_cr_multi": (5e-4, 5e-4, CIFAR, 256, 50, 5, 195 * 50, 1e-6),
}


def test_every_recipe_is_checked_here():
    assert set(SCHEDULES) == set(PAPER)


@pytest.mark.parametrize("name", PAPER)
def test_rates_and_lengths(name):
    cfg = get_config(name)
    base, rate, images, batch, epochs, warmup, steps, final = SCHEDULES[name]
    assert (cfg.optimizer.lr.base_lr, cfg.train.batch_size, cfg.train.epochs, cfg.schedule.warmup_epochs) == (
        base,
        batch,
        epochs,
        warmup,
    )
    peak = instantiate(cfg.optimizer.lr)
    assert peak == pytest.approx(rate, rel=1e-12)
    assert TrainSettings(**instantiate(cfg.train)).steps(images)[0] == steps
    schedule = instantiate(cfg.schedule)
    values = [peak * schedule(epoch / epochs) for epoch in (0, warmup / 2, warmup, (warmup + epochs) / 2)]
    assert values == pytest.approx([0, rate / 2, rate, (rate + final) / 2], rel=1e-9, abs=1e-15)
    assert peak * schedule(1 - 1e-12) == pytest.approx(final, rel=1e-6, abs=1e-12)


def test_the_milestone_of_table_5_follows_the_batch_size():
    for overrides, step in (([], 700 * 312), (["train.batch_size=1024"], 700 * 1251)):
        cfg = open_config("imagenet/pretrain_base", overrides, SECTIONS)
        assert TrainSettings(**instantiate(cfg.train)).steps(IMAGENET)[1] == {"epoch_700": step}


@pytest.mark.parametrize(("sigma", "mu"), [("0.25", 0.5), ("0.5", 0.5), ("1.0", 0.1), ("(0.0, 0.75)", 0.5)])
def test_mu_follows_sigma(sigma, mu):
    cfg = open_config("imagenet/finetune_large_cr", [f"model.corruption.sigma={sigma}"], SECTIONS)
    assert instantiate(cfg.model.loss).mu == mu


@pytest.mark.parametrize(("config", "depth", "drop_path", "decay"), [("base", 12, 0.1, 0.65), ("large", 24, 0.2, 0.75)])
def test_table_8(config, depth, drop_path, decay):
    for method in ("cr", "rs"):
        cfg = get_config(f"imagenet/finetune_{config}_{method}")
        backbone = cfg.model.classifier.backbone
        assert (backbone.drop_path, backbone.pool, cfg.optimizer.layer_decay) == (drop_path, "gap", decay)
        assert (cfg.optimizer.weight_decay, list(cfg.optimizer.betas), cfg.model.loss.label_smoothing) == (
            0.05,
            [0.9, 0.999],
            0.1,
        )
        assert (cfg.model.mixing.mixup, cfg.model.mixing.cutmix, cfg.model.mixing.after_noise) == (0.8, 1.0, True)
        assert backbone.name == f"vit_{config}"


def test_cifar_is_noised_at_32_without_mixing():
    for name in ("finetune_cr", "finetune_rs", "finetune_cr_multi"):
        cfg = get_config(f"cifar10_224/{name}")
        assert cfg.model.classifier.input_size == 224
        assert cfg.model.mixing is None
        assert "transform" not in cfg.data
    assert list(get_config("cifar10_224/finetune_cr_multi").model.corruption.sigma) == [0.0, 0.75]


# config -> the table and the row of the paper that its header shows first, at the three levels of noise
FIGURES = {"base_cr": (2, "DMAE ViT-B"), "large_cr": (2, "DMAE ViT-L"), "large_rs": (6, "DMAE-L+RS")}


@pytest.mark.parametrize("name", FIGURES)
def test_the_numbers_of_a_header_are_those_of_the_papers_table(name):
    header = (_folders()[0] / f"imagenet/finetune_{name}.py").read_text().split('"""')[1]
    shown = [line.split()[1:] for line in header.splitlines() if line.startswith("    sigma ")][:3]
    number, model = FIGURES[name]
    rows = [row for row in printed_rows(number) if model in row.lead]
    printed = [[row.lead[0], *(f"{100 * share:.1f}" for share in row.shares if share)] for row in rows]
    assert shown == printed


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER)
def test_a_trial_of_two_steps(name, tmp_path):
    cfg = open_config(name, [*get_config(name).debug, f"train.out_dir={tmp_path}"], SECTIONS)
    run_training(cfg)
    assert (tmp_path / "checkpoints/step_0000002.pth").exists()
    assert (tmp_path / "model_final.pth").exists()


def pipeline(name, out, *overrides):
    return Pipeline(
        open_config(name, [f"pipeline.out_dir={out}", *overrides], {"pipeline": PipelineSettings}), debug=True
    )


@pytest.mark.slow
def test_pipelines_share_models_not_names(tmp_path):
    """A stage of one name has one config in all tables: what one has trained the next one takes."""
    known = {}
    for name in TABLES:
        for stage in pipeline(name, tmp_path).plan.stages:
            assert known.setdefault(stage.name, stage) == stage


def test_ten_seeds(tmp_path):
    stages = pipeline("pipelines/table6", tmp_path, "pipeline.seeds=10").plan.stages
    assert len(stages) == 1 + 10 * 12
    seeds = [text for stage in stages for text in stage.overrides if text.startswith("train.seed=")]
    assert len(seeds) == 9 * 6
    assert len(list(itertools.groupby(seeds))) == 9


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seeds"), [("table4", 1), ("table5", 1), ("table10", 2)])
def test_a_table_from_pixels_to_latex(name, seeds, tmp_path, capsys):
    """Probes and MAE; a milestone; one model at several sigmas, with two seeds."""
    pipeline(f"pipelines/{name}", tmp_path, f"pipeline.seeds={seeds}").run()
    text = capsys.readouterr().out
    number = name.removeprefix("table")
    assert f"Table {number}." in text
    assert ("±" in text) == (seeds > 1)
    report = tmp_path / "debug" / name
    assert (report / f"table{number}.tex").read_text().startswith("\\begin")
    rows = json.loads((report / f"table{number}.json").read_text())["rows"]
    assert len(rows) == 6
