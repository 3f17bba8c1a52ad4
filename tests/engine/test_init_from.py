"""Trainings that start from files of every kind, official names included."""

import logging

import pytest
import torch
from iopath.common.file_io import PathHandler, PathManager

from dmaelab.engine import run_training
from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.utils import paths
from dmaelab.utils.errors import UserError
from dmaelab.weights import load_classifier, load_pretrain, save_weights

KEY = "blocks.0.mlp.fc1.weight"


@pytest.fixture
def pretrained(pretrain_config, tmp_path):
    run_training(pretrain_config("train.max_iter=1", "train.log_period=1"))
    return RunDirectory(tmp_path / "pretrain").model("final", torch.device("cpu"))


def started(cfg, caplog):
    """Return a model as its training would begin, and the line that says so."""
    caplog.clear()
    with caplog.at_level(logging.INFO, "dmaelab"):
        model = DefaultTrainer(cfg).inner.export()
    (line,) = (text for text in caplog.messages if ": loaded " in text)
    return model, line


@pytest.mark.parametrize("layout", ["official.pth", "official.safetensors", "dmaelab.safetensors", "timm.pth"])
def test_a_classifier_starts_from_files_of_every_layout(layout, pretrained, finetune_config, tmp_path, caplog):
    path = tmp_path / layout
    save_weights(pretrained, path, path.stem)
    model, line = started(finetune_config(f"train.init_from={path}"), caplog)
    assert torch.equal(model.state_dict()[f"backbone.{KEY}"], pretrained.state_dict()[f"encoder.{KEY}"])
    assert f"{path}: loaded 16 tensors, new 4 (backbone.fc_norm, head.bias, head.weight), dropped " in line


def test_pre_training_goes_on_from_a_whole_file_and_from_an_encoder(pretrained, pretrain_config, tmp_path, caplog):
    with torch.no_grad():
        for parameter in pretrained.parameters():
            parameter += 0.01  # else the decoder is that of the seed, which a new one is as well
    for layout, new in (
        ("official", "new 0"),
        ("timm", "new 20 (decoder.blocks, decoder.embed, decoder.mask_token, decoder.norm, ...)"),
    ):
        path = tmp_path / f"{layout}.pth"
        save_weights(pretrained, path, layout)
        model, line = started(pretrain_config(f"train.init_from={path}", out=layout), caplog)
        assert torch.equal(model.encoder.cls_token, pretrained.encoder.cls_token)
        assert torch.equal(model.decoder.mask_token, pretrained.decoder.mask_token) == (layout == "official")
        assert new in line


def test_another_grid_is_interpolated_and_said(pretrained, finetune_config, tmp_path, caplog):
    larger = ("model.classifier.backbone.image_size=12", "+model.classifier.input_size=12")
    model, line = started(finetune_config(f"train.init_from={tmp_path / 'pretrain'}", *larger), caplog)
    assert line.endswith(", interpolated backbone.pos_embed 4x4 -> 6x6")
    assert model.backbone.pos_embed.shape == (1, 37, 16)


def test_a_registered_scheme_is_fetched_by_its_handler(pretrained, finetune_config, tmp_path, caplog, monkeypatch):
    class Shelf(PathHandler):
        def _get_supported_prefixes(self):
            return ["shelf://"]

        def _get_local_path(self, path, force=False, **kwargs):
            return str(tmp_path / path.removeprefix("shelf://"))

    monkeypatch.setattr(paths, "PATHS", PathManager())
    paths.PATHS.register_handler(Shelf())
    save_weights(pretrained, tmp_path / "official.pth", "official")
    model, line = started(finetune_config("train.init_from=shelf://official.pth"), caplog)
    assert torch.equal(model.backbone.cls_token, pretrained.encoder.cls_token)
    assert f"{tmp_path / 'official.pth'}: loaded 16 tensors" in line
    with pytest.raises(UserError, match="no handler is registered for other://"):
        DefaultTrainer(finetune_config("train.init_from=other://official.pth"))


@pytest.mark.parametrize("source", ["pretrain", "official.pth", "dmaelab.safetensors"])
def test_other_heads_stop_the_training(source, pretrained, finetune_config, tmp_path):
    save_weights(pretrained, tmp_path / "official.pth", "official")
    save_weights(pretrained, tmp_path / "dmaelab.safetensors", "dmaelab")
    cfg = finetune_config(f"train.init_from={tmp_path / source}", "model.classifier.backbone.num_heads=4")
    with pytest.raises(UserError, match="trained with num_heads 2, but the model has 4: set num_heads to 2"):
        DefaultTrainer(cfg)


def test_a_file_without_weights_stops_the_training(finetune_config, tmp_path):
    torch.save({"step": 3}, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"x\.pth: holds no weights"):
        DefaultTrainer(finetune_config(f"train.init_from={tmp_path / 'x.pth'}"))


def test_files_of_a_run_tell_heads_statistics_and_recipe(pretrained, tmp_path):
    """Digits: 2 heads of 8, which no width shows, and targets in pixels."""
    for name in ("model_final.pth", "checkpoints/step_0000001.pth"):
        model = load_pretrain(tmp_path / "pretrain" / name)
        assert (model.encoder.blocks[0].attn.num_heads, model.decoder.blocks[0].attn.num_heads) == (2, 2)
        assert (model.norm_pix, model.mask_ratio) == (False, 0.75)
        images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        expected = pretrained.reconstruct(images, noise=0 * images).pred
        assert torch.equal(model.reconstruct(images, noise=0 * images).pred, expected)


def test_classifiers_of_a_run_load_in_one_call(finetune_config, tmp_path):
    run_training(finetune_config("train.max_iter=1", "train.log_period=1"))
    expected = RunDirectory(tmp_path / "rs").model("final", torch.device("cpu")).export()
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for name in ("model_final.pth", "checkpoints/step_0000001.pth"):
        with torch.no_grad():  # attention "auto" is by the rule of evaluation, as in the run
            assert torch.equal(load_classifier(tmp_path / "rs" / name)(images), expected(images))
