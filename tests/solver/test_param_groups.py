import pytest
import torch
from torch import nn

from dmaelab.corruptions import Gaussian
from dmaelab.losses import RS, MSEAllPatches
from dmaelab.modeling import Classifier, DenoisingMAE, MAEDecoder, NoisyClassifier, build_backbone
from dmaelab.solver import param_groups
from dmaelab.utils.errors import ConfigError

RGB = [0.5] * 3, [0.25] * 3


def autoencoder(name):
    with torch.device("meta"):
        return DenoisingMAE(build_backbone(name, pool=None), MAEDecoder, Gaussian(0.25), MSEAllPatches(), *RGB)


def classifier(name, pool="gap"):
    with torch.device("meta"):
        return NoisyClassifier(Classifier(build_backbone(name, pool=pool), 1000, *RGB), Gaussian(0.25), RS())


def by_name(model, groups):
    """Return name -> (rate scale, whether it is decayed)."""
    found = {id(p): (group["lr_scale"], group["weight_decay"] > 0) for group in groups for p in group["params"]}
    return {name: found[id(p)] for name, p in model.named_parameters() if id(p) in found}


@pytest.mark.parametrize(("name", "counts"), [("vit_base", {False: 167, True: 85}), ("vit_large", {False: 263, True: 133})])
def test_pre_training_has_the_two_groups_of_the_reference(name, counts):
    model = autoencoder(name)
    groups = param_groups(model, 0.05)
    assert {group["weight_decay"] > 0: len(group["params"]) for group in groups} == counts
    assert {group["weight_decay"] for group in groups} == {0.0, 0.05}
    assert {group["lr_scale"] for group in groups} == {1.0}
    where = by_name(model, groups)
    assert where["encoder.cls_token"] == where["decoder.mask_token"] == (1.0, True)
    assert not [name for name in where if name.endswith("pos_embed")]
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["encoder.pos_embed", "decoder.pos_embed"]


def test_fine_tuning_has_the_groups_of_the_reference():
    model = classifier("vit_base")
    groups = param_groups(model, 0.05, no_decay=["pos_embed", "cls_token"], layer_decay=0.65)
    assert len(groups) == 28
    where = {name.removeprefix("classifier."): value for name, value in by_name(model, groups).items()}
    assert len(where) == len(list(model.parameters())) == 152

    stem, plain = where["backbone.cls_token"]
    assert not plain
    assert abs(stem - 0.003697) < 5e-7
    assert where["backbone.pos_embed"] == where["backbone.patch_embed.proj.bias"] == (stem, False)
    assert where["backbone.patch_embed.proj.weight"] == (stem, True)
    for block in range(12):
        scale = pytest.approx(0.65 ** (12 - block))
        inner = {name: value for name, value in where.items() if name.startswith(f"backbone.blocks.{block}.")}
        assert len(inner) == 12
        for name, value in inner.items():
            assert value == (scale, name.endswith("weight") and "norm" not in name)
    assert where["backbone.blocks.11.mlp.fc1.weight"] == (0.65, True)
    assert where["head.weight"] == (1.0, True)
    assert where["head.bias"] == where["backbone.fc_norm.weight"] == where["backbone.fc_norm.bias"] == (1.0, False)


def test_final_norm_learns_at_the_full_rate_with_the_class_token_too():
    model = classifier("vit_tiny", pool="cls")
    where = by_name(model, param_groups(model, 0.05, layer_decay=0.75))
    assert where["classifier.backbone.norm.weight"] == (1.0, False)
    assert where["classifier.backbone.cls_token"] == (pytest.approx(0.75**13), True)


def test_residual_networks_decay_by_layer_too():
    with torch.device("meta"):
        model = NoisyClassifier(Classifier(build_backbone("resnet_cifar", depth=8), 10, *RGB), Gaussian(0.25), RS())
    where = by_name(model, param_groups(model, 0.1, layer_decay=0.5))
    assert len(where) == len(list(model.parameters()))
    assert where["classifier.backbone.conv1.weight"] == (0.5**4, True)
    assert where["classifier.backbone.blocks.2.bn1.weight"] == (0.5, False)
    assert where["classifier.head.weight"] == (1.0, True)


def test_without_layer_decay_any_module_will_do():
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    groups = param_groups(model, 0.1, no_decay=["other"])
    assert by_name(model, groups) == {"0.weight": (1.0, True), "0.bias": (1.0, False), "1.weight": (1.0, False), "1.bias": (1.0, False)}


def test_frozen_parameters_are_left_out():
    model = nn.Linear(2, 3)
    model.weight.requires_grad_(False)
    assert by_name(model, param_groups(model, 0.1)) == {"bias": (1.0, False)}


@pytest.mark.parametrize("layer_decay", [0, -0.5, 1.5])
def test_bad_layer_decay(layer_decay):
    with pytest.raises(ConfigError, match=r"optimizer\.layer_decay is .*: give a number in \(0, 1\]"):
        param_groups(nn.Linear(2, 3), 0.1, layer_decay=layer_decay)
