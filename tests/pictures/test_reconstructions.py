"""The picture of reconstructions, and the lines that name it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dmaelab.config import instantiate
from dmaelab.engine import run_training
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.pictures.reconstructions import draw_reconstructions, reconstruction_grid
from dmaelab.utils.errors import UserError

CPU = torch.device("cpu")


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


@pytest.mark.parametrize("norm_pix", [False, True])
def test_a_run_is_drawn_with_its_errors_where_it_predicts_pixels(pretrain_config, tmp_path, norm_pix):
    cfg = pretrain_config(f"model.norm_pix={norm_pix}", "train.max_iter=1")
    run_training(cfg)
    lines = draw_reconstructions(Path(cfg.train.out_dir), tmp_path / "grid.png")
    assert (tmp_path / "grid.png").is_file()
    assert lines[0] == f"reconstructions: {tmp_path}/grid.png"
    assert len(lines) == (1 if norm_pix else 3)
    assert (tmp_path / "grid.json").is_file() is not norm_pix
    if not norm_pix:
        errors = json.loads((tmp_path / "grid.json").read_text())
        assert f"held-out images: {errors['reconstruction']:.4f}" in lines[1]


def test_a_picture_is_a_png(tmp_path):
    with pytest.raises(UserError, match=r"grid\.svg: reconstructions are drawn as PNG"):
        draw_reconstructions(tmp_path, tmp_path / "grid.svg")
