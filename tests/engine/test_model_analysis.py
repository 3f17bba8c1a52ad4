"""Costs of models against published counts, formulas and real tensors."""

import pytest
import torch
from omegaconf import OmegaConf

from dmaelab.config import LazyCall as L
from dmaelab.config import instantiate, open_config
from dmaelab.data import Samples, make_batch
from dmaelab.engine.model_analysis import analysis_config, analyze
from dmaelab.engine.training import SECTIONS, run_training
from dmaelab.solver import build_lars
from dmaelab.utils.errors import ConfigError, UserError
from dmaelab.utils.random import Draw


def digits(name, *overrides):
    return open_config(name, ["train.device=cpu", "train.precision=fp32", *overrides], SECTIONS)


def test_pre_training_of_the_base_model():
    result = analyze(analysis_config("imagenet/pretrain_base"))
    assert (result.parameters, result.trainable) == (111_907_840, 111_655_680)
    assert set(result.parts) == {"encoder", "decoder"}
    assert sum(result.parts.values()) == result.parameters
    # By hand, 49 + 1 and 197 tokens: patches, 12 encoder blocks, decoder's embedding, 8 blocks and prediction.
    encoder = 196 * 768 * 768 + 12 * (12 * 768**2 * 50 + 2 * 50**2 * 768)
    decoder = 50 * 768 * 512 + 8 * (12 * 512**2 * 197 + 2 * 197**2 * 512) + 197 * 512 * 768
    assert result.flops == encoder + decoder
    assert result.weight_bytes == 4 * (result.parameters + 6)  # and the pixel statistics
    assert result.gradient_bytes == 4 * result.trainable
    assert result.optimizer_bytes == 2 * result.gradient_bytes + 4 * (
        167 + 85
    )  # two moments, and AdamW's step counters


@pytest.mark.parametrize(
    ("name", "parameters", "gflops"),
    [("base", 86_567_656, 17.56), pytest.param("large", 304_326_632, 61.55, marks=pytest.mark.slow)],
)
def test_the_papers_classifiers(name, parameters, gflops):
    """87M and 304M; sdpa, whose products count as well."""
    result = analyze(analysis_config(f"imagenet/finetune_{name}_cr", ["model.classifier.backbone.attention=sdpa"]))
    assert result.parameters == result.trainable == parameters
    assert result.flops / 1e9 == pytest.approx(gflops, rel=0.001)
    assert set(result.parts) == {"backbone", "head"}


def test_activations_of_one_more_block():
    """What a block keeps, per token: inputs of two norms (2D), of qkv, of attention (3D), of proj, MLP, GELU, fc2; the
    softmax.
    """
    tokens, width, hidden, heads = 17, 64, 128, 2
    override = ["model.classifier.backbone.attention=matmul"]
    four, three = (
        analyze(digits("digits/finetune_rs", *override, f"model.classifier.backbone.depth={depth}")).activation_bytes
        for depth in (4, 3)
    )
    statistics = 4  # mean and deviation of two norms
    assert four - three == 4 * tokens * (8 * width + 2 * hidden + heads * tokens + statistics)


def test_bf16_keeps_half():
    single, half = (analyze(digits("digits/finetune_rs", f"train.precision={name}")) for name in ("fp32", "bf16"))
    assert half.activation_bytes == pytest.approx(single.activation_bytes / 2, rel=0.02)
    assert half.weight_bytes == single.weight_bytes


def test_two_noisy_copies_keep_twice_as_much():
    one, two = (analyze(digits(f"digits/finetune_{loss}")).activation_bytes for loss in ("rs", "cr"))
    assert two == pytest.approx(2 * one, rel=0.01)


def saved_by_real_tensors(cfg, count):
    """Return the bytes that autograd keeps of a real step on ``count`` digits."""
    torch.manual_seed(0)
    model = instantiate(cfg.model).train()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    images = Samples(torch.rand(count, 1, 8, 8), torch.arange(count), torch.arange(count))
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(make_batch(images, "cpu", Draw(0, "train", 0, 0), 0.0))
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("name", ["digits/pretrain", "digits/finetune_cr"])
def test_real_tensors_keep_the_same(name):
    cfg = digits(name)
    assert analyze(cfg).activation_bytes * 6 == pytest.approx(saved_by_real_tensors(cfg, 6), rel=0.01)


def test_a_step_is_the_sum_and_the_optimizer_its_own():
    cfg = digits("digits/finetune_rs")
    cfg.optimizer = L(build_lars)(lr=1.0)
    result = analyze(cfg)
    assert result.optimizer_bytes == result.gradient_bytes == 4 * result.trainable  # one buffer of momentum
    assert result.step_bytes(10) == result.weight_bytes + 2 * result.gradient_bytes + 10 * result.activation_bytes


def test_run_directories_and_certifications(finetune_config, tmp_path):
    run_training(finetune_config("train.max_iter=1"))
    expected = analyze(finetune_config())
    assert analyze(analysis_config(tmp_path / "rs")) == expected
    assert analyze(analysis_config("certify/default", [f"certify.run={tmp_path / 'rs'}"])) == expected
    own = tmp_path / "own.py"
    own.write_text(
        "from dmaelab.config import LazyCall as L\nfrom torch.nn import Conv2d\n"
        "classifier = L(Conv2d)(in_channels=3, out_channels=5, kernel_size=4, bias=False)\n"
        "certify = dict(out_dir='x')\n"
    )
    result = analyze(analysis_config(own), (3, 4, 4))
    assert (result.parameters, result.flops, result.activation_bytes, result.step_bytes(1)) == (240, 240, None, None)
    with pytest.raises(UserError, match="this Conv2d does not say which image size it takes: give --shape"):
        analyze(analysis_config(own))


def test_bad_configs():
    for source, message in [
        ("certify/default", "certify.run: name the run directory"),
        ("pipelines/digits", "is a pipeline"),
    ]:
        with pytest.raises(ConfigError, match=message):
            analysis_config(source)
    with pytest.raises(ConfigError, match=r"got \[1, 3, 8, 8\]"):
        analyze(digits("digits/finetune_rs"), (3, 8, 8))


class Deciding(torch.nn.Linear):
    """Looks at its values."""

    def forward(self, images):
        return super().forward(images.flatten(1)) if images.sum() > 0 else images


def test_a_network_that_looks_at_its_values_is_named():
    cfg = OmegaConf.create({"classifier": {"_target_": f"{__name__}.Deciding", "in_features": 12, "out_features": 2}})
    with pytest.raises(UserError, match="cannot be analysed without data: its control flow depends on values"):
        analyze(cfg, (3, 2, 2))
