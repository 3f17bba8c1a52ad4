"""Training with compiled blocks."""

import shutil

import pytest
import torch

from dmaelab.engine import run_training


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_compiled_blocks_train_like_eager_ones(pretrain_config, tmp_path):
    weights = {}
    for compiled in (False, True):
        cfg = pretrain_config(
            "train.max_iter=3", f"train.compile={compiled}", f"train.out_dir={tmp_path / str(compiled)}"
        )
        run_training(cfg)
        weights[compiled] = torch.load(tmp_path / str(compiled) / "model_final.pth", weights_only=True)["model"]
    assert weights[True].keys() == weights[False].keys()
    for name, value in weights[True].items():
        torch.testing.assert_close(value, weights[False][name], atol=2e-3, rtol=2e-3)
