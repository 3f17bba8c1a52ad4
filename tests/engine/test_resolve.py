from dataclasses import fields

import pytest
import torch
from omegaconf import OmegaConf

from dmaelab.engine.resolve import resolve, with_attention, with_defaults
from dmaelab.engine.settings import TrainSettings
from dmaelab.rules.attention import attention_rule
from dmaelab.rules.precision import precision_rule

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def cfg():
    return OmegaConf.create(
        {
            "model": {
                "_target_": "any.Model",
                "encoder": {"attention": "auto", "width": 4},
                "decoder": {"attention": "sdpa", "blocks": {"attention": "matmul"}},
            },
            "train": {"out_dir": "out", "batch_size": 4, "max_iter": 2, "seed": 7},
        }
    )


def attention_of(model):
    return model.encoder.attention, model.decoder.attention, model.decoder.blocks.attention


def test_every_default_of_train_is_written_out_and_what_is_there_stays(cfg):
    train = with_defaults(cfg).train
    assert list(train)[:4] == ["out_dir", "batch_size", "max_iter", "seed"]
    assert TrainSettings(**OmegaConf.to_container(train)) == TrainSettings("out", 4, max_iter=2, seed=7)
    assert {field.name for field in fields(TrainSettings)} == set(train)


@pytest.mark.parametrize(
    "work", [with_defaults, lambda cfg: resolve(cfg, CPU), lambda cfg: with_attention(cfg.model, CPU, False)]
)
def test_the_config_itself_is_left_alone(cfg, work):
    before = OmegaConf.to_container(cfg)
    work(cfg)
    assert OmegaConf.to_container(cfg) == before


def test_no_two_configs_share_a_default(cfg):
    with_defaults(cfg).train.milestones["early"] = 1
    assert with_defaults(cfg).train.milestones == {}


@pytest.mark.parametrize("device", [CPU, CUDA])
def test_a_training_keeps_the_kernels_that_the_config_names(cfg, device):
    model = with_attention(cfg.model, device, training=True)
    assert attention_of(model) == (attention_rule(device.type, True), "sdpa", "matmul")
    assert model.encoder.width == 4


def test_an_evaluation_takes_the_rule_of_its_own_device(cfg):
    assert attention_of(with_attention(cfg.model, CPU, training=False)) == (attention_rule("cpu", False),) * 3


def test_references_between_keys_stay_references(cfg):
    cfg.model.decoder.width = "${..encoder.width}"
    model = with_attention(cfg.model, CPU, training=True)
    assert OmegaConf.to_container(model, resolve=False)["decoder"]["width"] == "${..encoder.width}"


@pytest.mark.parametrize(
    ("asked", "found"), [("auto", precision_rule("cpu")), ("fp32", "fp32"), ("bf16", "bf16"), ("fp16", "fp16")]
)
def test_a_resolved_config_leaves_nothing_open(cfg, asked, found):
    cfg.train.precision = asked
    resolved = resolve(cfg, CPU)
    assert resolved.train.precision == found
    assert attention_of(resolved.model) == (attention_rule("cpu", True), "sdpa", "matmul")
    assert resolve(resolved, CPU) == resolved
