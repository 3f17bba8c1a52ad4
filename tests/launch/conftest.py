"""Pipelines of the digits demo, as it is written and with a budget of seconds."""

import pytest
from fake_cluster import FakeSlurm

from dmaelab.config import open_config
from dmaelab.launch.pipeline import SECTIONS, Pipeline

SMALL = ["train.max_iter=2", "train.batch_size=32", "train.device=cpu", "train.eval_images=20", "train.precision=fp32"]
QUICK = [
    "certifier.n=50",
    "certifier.n0=10",
    "certify.batch_size=64",
    "certify.device=cpu",
    'certify.subset={"count": 4}',
]


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Replace all commands of SLURM by scripts."""
    return FakeSlurm(tmp_path / "commands of SLURM", monkeypatch)


@pytest.fixture
def digits():
    """Return a function (out_dir, overrides) -> the pipeline of the demo."""

    def make(out, *overrides, **options):
        overrides = [f"pipeline.out_dir={out}", *overrides]
        return Pipeline(open_config("pipelines/digits", overrides, SECTIONS), **options)

    return make


@pytest.fixture
def chain():
    """Return a function (out_dir, overrides) -> pre-train, fine-tune, certify: stages 0, 1 and 4 of the demo, small."""

    def make(out, *overrides, **options):
        overrides = [f"pipeline.out_dir={out}", *overrides]
        cfg = open_config("pipelines/digits", overrides, SECTIONS)
        cfg.stages = [cfg.stages[0], cfg.stages[1], cfg.stages[4]]
        for stage, small in zip(cfg.stages, (SMALL, SMALL, QUICK), strict=True):
            stage.overrides = small
        return Pipeline(cfg, **options)

    return make
