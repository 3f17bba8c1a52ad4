"""The claim of the paper in small: noise is removed and hidden patches are filled in, on held-out images."""

import numpy as np
import pytest
import torch

from dmaelab.config import instantiate, open_config
from dmaelab.engine import run_training
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.training import SECTIONS
from dmaelab.pictures.denoising import denoising_report
from dmaelab.pictures.reconstructions import reconstruction_grid
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


def test_the_picture_has_four_named_columns_per_image(pretrain_config, tmp_path):
    from PIL import Image

    cfg = pretrain_config()
    run_training(cfg)
    model = RunDirectory(tmp_path / "pretrain").model("final", CPU)
    reconstruction_grid(model, instantiate(cfg.data.test), tmp_path / "grid.png", count=3)
    picture = np.asarray(Image.open(tmp_path / "grid.png"))
    assert picture.shape == (22 + 2 * 100, 2 * (4 * 100 + 8), 3)  # two rows of two groups, cells of 96 pixels and a gap
    original, masked = picture[22:118, 4:100], picture[22:118, 204:300]
    first = instantiate(cfg.data.test).load(0)[0][0].repeat_interleave(12, 0).repeat_interleave(12, 1)
    assert np.array_equal(original[:, :, 0], first.numpy())
    grey = (masked == 128).all(axis=2).mean()
    assert grey == pytest.approx(0.75, abs=0.01)


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
