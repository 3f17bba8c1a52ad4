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


def members(model, groups):
    """Return the names of each group's parameters, without those of the wrapper."""
    names = {id(p): name.removeprefix("classifier.").removeprefix("backbone.") for name, p in model.named_parameters()}
    return [[names[id(p)] for p in group["params"]] for group in groups]


@pytest.mark.parametrize(("name", "counts"), [("vit_base", [167, 85]), ("vit_large", [263, 133])])
def test_pre_training_has_the_two_groups_of_the_reference(name, counts):
    model = autoencoder(name)
    groups = param_groups(model, 0.05)
    assert [len(group["params"]) for group in groups] == counts
    assert [group["weight_decay"] for group in groups] == [0.0, 0.05]
    assert [group["lr_scale"] for group in groups] == [1.0, 1.0]
    plain, decayed = members(model, groups)
    assert all(name.endswith("bias") or "norm" in name for name in plain)
    assert {"encoder.cls_token", "decoder.mask_token"} <= set(decayed)
    assert not [name for name in plain + decayed if name.endswith("pos_embed")]
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == [
        "encoder.pos_embed",
        "decoder.pos_embed",
    ]


# Per layer what is not decayed, then what is; the head's two groups are the last.
EMBEDDING = [["cls_token", "pos_embed", "patch_embed.proj.bias"], ["patch_embed.proj.weight"]]
BLOCK = [
    [
        "norm1.weight",
        "norm1.bias",
        "attn.qkv.bias",
        "attn.proj.bias",
        "norm2.weight",
        "norm2.bias",
        "mlp.fc1.bias",
        "mlp.fc2.bias",
    ],
    ["attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight"],
]


@pytest.mark.parametrize(
    ("name", "pool", "norm", "layer_decay"),
    [("vit_base", "gap", "fc_norm", 0.65), ("vit_base", "cls", "norm", 0.65), ("vit_large", "gap", "fc_norm", 0.75)],
)
def test_fine_tuning_has_the_groups_of_the_reference(name, pool, norm, layer_decay):
    """Members and order of DMAE's layer-wise groups: 28 for ViT-B, 52 for ViT-L."""
    model = classifier(name, pool)
    depth = len(model.classifier.backbone.blocks)
    groups = param_groups(model, 0.05, no_decay=["pos_embed", "cls_token"], layer_decay=layer_decay)
    blocks = [[f"blocks.{block}.{name}" for name in names] for block in range(depth) for names in BLOCK]
    head = [[f"{norm}.weight", f"{norm}.bias", "head.bias"], ["head.weight"]]
    assert members(model, groups) == [*EMBEDDING, *blocks, *head]
    assert len(groups) == 2 * (depth + 2)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))  # pos_embed is learned here
    assert [group["weight_decay"] for group in groups] == [0.0, 0.05] * (depth + 2)
    assert [group["lr_scale"] for group in groups] == pytest.approx(
        [layer_decay ** (depth + 1 - i // 2) for i in range(len(groups))]
    )


def test_rates_of_the_base_recipe():
    groups = param_groups(classifier("vit_base"), 0.05, layer_decay=0.65)
    scales = [group["lr_scale"] for group in groups]
    assert abs(scales[0] - 0.003697) < 5e-7
    assert scales[-4:] == [0.65, 0.65, 1.0, 1.0]


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
    assert by_name(model, groups) == {
        "0.weight": (1.0, True),
        "0.bias": (1.0, False),
        "1.weight": (1.0, False),
        "1.bias": (1.0, False),
    }


def test_frozen_parameters_are_left_out():
    model = nn.Linear(2, 3)
    model.weight.requires_grad_(False)
    assert by_name(model, param_groups(model, 0.1)) == {"bias": (1.0, False)}


@pytest.mark.parametrize("layer_decay", [0, -0.5, 1.5])
def test_bad_layer_decay(layer_decay):
    with pytest.raises(ConfigError, match=r"optimizer\.layer_decay is .*: give a number in \(0, 1\]"):
        param_groups(nn.Linear(2, 3), 0.1, layer_decay=layer_decay)
