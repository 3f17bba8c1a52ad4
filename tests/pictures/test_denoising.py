"""The claim of the paper in small: noise is removed and hidden patches are filled in, on held-out images."""

from types import SimpleNamespace

import pytest
import torch

from dmaelab.config import instantiate, open_config
from dmaelab.engine import run_training
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.training import SECTIONS
from dmaelab.pictures.denoising import denoising_report, hidden_pixels
from dmaelab.utils.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.slow
def test_denoising_works_on_held_out_digits(tmp_path):
    short = [
        "train.max_iter=1200",
        "train.batch_size=128",
        "optimizer.lr=5e-3",
        "train.eval_period=0",
        "train.device=cpu",
    ]
    cfg = open_config("digits/pretrain", [f"train.out_dir={tmp_path}/run", *short], SECTIONS)
    run_training(cfg)
    errors = denoising_report(
        RunDirectory(tmp_path / "run").model("final", CPU), instantiate(cfg.data.train), instantiate(cfg.data.test), CPU
    )
    assert errors["noisy"] == pytest.approx(0.25**2, rel=0.05)
    assert errors["reconstruction"] < 0.85 * min(errors["noisy"], errors["mean_image"])


def test_normalised_targets_have_no_pixels_to_compare(pretrain_config, tmp_path):
    cfg = pretrain_config("model.norm_pix=True", "train.max_iter=1")
    run_training(cfg)
    model = RunDirectory(tmp_path / "pretrain").model("final", CPU)
    with pytest.raises(UserError, match="norm_pix=True"):
        denoising_report(model, instantiate(cfg.data.train), instantiate(cfg.data.test), CPU)


def test_without_noise_there_is_nothing_to_denoise(pretrain_config):
    cfg = pretrain_config()
    model = instantiate(cfg.model)
    model.corruption = None
    with pytest.raises(UserError, match="trained without noise"):
        denoising_report(model, instantiate(cfg.data.train), instantiate(cfg.data.test), CPU)


def test_a_hidden_patch_hides_all_its_pixels():
    encoder = SimpleNamespace(grid=2, patch_size=3)
    hidden = hidden_pixels(torch.tensor([[0.0, 1.0, 0.0, 0.0]]), encoder)
    assert hidden.shape == (1, 1, 6, 6)
    assert hidden[0, 0, :3, 3:].eq(1).all()
    assert hidden.sum() == 9
