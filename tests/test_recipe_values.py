"""What the paper's configs say, value by value, and what they build (dmae_reference: sections 1 and 3 to 7; Tables 7
and 8).
"""

import inspect

import pytest
import torch
from omegaconf import OmegaConf

from dmaelab.config import get_config, instantiate
from dmaelab.data.transforms import random_resized_crop, single_draw_crop
from dmaelab.losses import CR, RS
from dmaelab.modeling.layers import DropPath
from dmaelab.utils.seeding import global_generators

PRETRAIN = [
    "imagenet/pretrain_base",
    "imagenet/pretrain_large",
    "imagenet/pretrain_huge",
    "imagenet/pretrain_mae_base",
    "cifar10_224/pretrain",
]
FINETUNE = [f"imagenet/finetune_{size}_{method}" for size in ("base", "large") for method in ("cr", "rs")]
CIFAR_FINETUNE = ["cifar10_224/finetune_cr", "cifar10_224/finetune_rs", "cifar10_224/finetune_cr_multi"]
PROBE = ["imagenet/probe_base"]

IMAGENET_PIXELS = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CIFAR_PIXELS = ([0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616])


def plain(node):
    """A node of a config as plain dicts and lists, with the last part of each target and without marks of calls."""
    if isinstance(node, dict):
        short = {"_target_": lambda target: target.rpartition(".")[2]}
        return {key: short.get(key, plain)(value) for key, value in node.items()}
    return [plain(item) for item in node] if isinstance(node, list) else node


def section(name, path):
    return plain(OmegaConf.to_container(OmegaConf.select(get_config(name), path), resolve=True))


def model_of(name):
    """The model of a config, without memory for its weights."""
    with torch.device("meta"):
        return instantiate(get_config(name).model)


@pytest.mark.parametrize("name", PRETRAIN)
def test_pre_training(name):
    model = get_config(name).model
    assert (model.mask_ratio, model.norm_pix, model.encoder.pool) == (0.75, True, None)
    assert (model.decoder.width, model.decoder.depth, model.decoder.num_heads) == (512, 8, 16)
    assert "drop_path" not in model.encoder
    optimizer = section(name, "optimizer")
    assert optimizer.pop("lr")["_target_"] == "scaled_lr"
    assert optimizer == {
        "_target_": "build_adamw",
        "weight_decay": 0.05,
        "betas": [0.9, 0.95],
    }  # class and mask token are decayed


@pytest.mark.parametrize(
    ("names", "images"),
    [(PRETRAIN, 64), (FINETUNE, 32), (CIFAR_FINETUNE, 64), (PROBE, 512)],
    ids=["pretrain", "finetune", "cifar10", "probe"],
)
def test_a_process_takes_the_micro_batches_of_the_reference(names, images):
    """Drop path, mixing, noise and, in a probe, the batch statistics belong to a micro-batch."""
    assert {get_config(name).train.micro_batch for name in names} == {images}
    assert {get_config(name).train.precision for name in names} == {"fp16"}


@pytest.mark.parametrize("name", PRETRAIN)
def test_mae_is_the_recipe_without_noise_on_the_hidden_patches(name):
    model = get_config(name).model
    if name == "imagenet/pretrain_mae_base":
        assert model.corruption is None
        assert section(name, "model.loss") == {"_target_": "build_loss", "name": "mse_masked_patches"}
    else:
        assert section(name, "model.corruption") == {"_target_": "build_corruption", "name": "gaussian", "sigma": 0.25}
        assert section(name, "model.loss") == {"_target_": "build_loss", "name": "mse_all_patches"}


@pytest.mark.parametrize("name", [name for name in PRETRAIN if name.startswith("imagenet")])
def test_pre_training_crops_and_flips(name):
    assert section(name, "data.transform") == [{"_target_": "random_resized_crop", "size": 224, "scale": [0.2, 1.0]}]
    assert section(name, "data.augment") == [{"_target_": "HorizontalFlip"}]


@pytest.mark.parametrize("name", FINETUNE)
def test_fine_tuning_augments_without_erasing_or_normalising(name):
    """The flip comes before RandAugment, so it is one of single images here."""
    assert "augment" not in get_config(name).data
    assert section(name, "data.transform") == [
        {"_target_": "random_resized_crop", "size": 224},
        {"_target_": "random_horizontal_flip"},
        {"_target_": "rand_augment", "policy": "rand-m9-mstd0.5-inc1", "image_size": 224},
    ]


@pytest.mark.parametrize("crop", [random_resized_crop, single_draw_crop])
def test_crops_of_fine_tuning_and_probing_are_the_default(crop):
    defaults = {name: parameter.default for name, parameter in inspect.signature(crop).parameters.items()}
    assert (defaults["scale"], defaults["ratio"]) == ((0.08, 1.0), (3 / 4, 4 / 3))


@pytest.mark.parametrize("name", [*FINETUNE, *CIFAR_FINETUNE, *PROBE])
def test_losses(name):
    loss = instantiate(get_config(name).model.loss)
    assert loss.label_smoothing == (0.0 if name in PROBE else 0.1)
    if "_cr" in name:
        assert type(loss) is CR
        assert (loss.lam, loss.mu, loss.copies) == (2.0, 0.5, 2)
    else:
        assert type(loss) is RS
        assert loss.copies == 1


@pytest.mark.parametrize("name", [*FINETUNE, *CIFAR_FINETUNE])
def test_fine_tuning_decays_neither_positions_nor_class_token(name):
    assert section(name, "optimizer.no_decay") == ["pos_embed", "cls_token"]
    assert get_config(name).optimizer["_target_"].endswith("build_adamw")
    assert "train_backbone" not in get_config(name).model


def test_the_probe_trains_a_head_on_the_class_token_with_lars():
    cfg = get_config("imagenet/probe_base")
    assert (cfg.model.classifier.head, cfg.model.classifier.backbone.pool, cfg.model.train_backbone) == (
        "bn_linear",
        "cls",
        False,
    )
    assert "drop_path" not in cfg.model.classifier.backbone
    assert "mixing" not in cfg.model
    assert instantiate(cfg.model.corruption).sigma == 0.25
    assert section("imagenet/probe_base", "data.transform") == [{"_target_": "single_draw_crop", "size": 224}]
    assert section("imagenet/probe_base", "data.augment") == [{"_target_": "HorizontalFlip"}]


@pytest.mark.parametrize("name", ["cifar10_224/pretrain", *CIFAR_FINETUNE])
def test_cifar_images_are_only_mirrored(name):
    cfg = get_config(name)
    assert section(name, "data.augment") == [{"_target_": "HorizontalFlip"}]
    assert "transform" not in cfg.data
    for split in ("train", "test"):
        assert section(name, f"data.{split}") == {"_target_": "build_dataset", "name": "cifar10", "split": split}


@pytest.mark.parametrize("name", CIFAR_FINETUNE)
def test_cifar_keeps_what_vit_base_was_tuned_with(name):
    cfg = get_config(name)
    backbone = cfg.model.classifier.backbone
    assert (backbone.name, backbone.pool, backbone.drop_path, cfg.optimizer.layer_decay) == (
        "vit_base",
        "gap",
        0.1,
        0.65,
    )
    assert (cfg.optimizer.weight_decay, list(cfg.optimizer.betas)) == (0.05, [0.9, 0.999])


@pytest.mark.parametrize("name", [*PRETRAIN, *FINETUNE, *CIFAR_FINETUNE, *PROBE])
def test_statistics_are_those_of_the_data(name):
    model = get_config(name).model
    owner = model.get("classifier", model)
    expected = CIFAR_PIXELS if name.startswith("cifar") else IMAGENET_PIXELS
    assert (list(owner.pixel_mean), list(owner.pixel_std)) == expected
    assert owner.get("input_size") == (224 if name.startswith("cifar") else None)


@pytest.mark.parametrize("name", [name for name in [*PRETRAIN, *FINETUNE, *PROBE] if name.startswith("imagenet")])
def test_imagenet_is_evaluated_at_256_and_224(name):
    node = {"_target_": "build_dataset", "name": "imagenet"}
    assert section(name, "data.test") == {**node, "split": "val", "image_size": 224, "resize": 256}
    assert section(name, "data.train") == {**node, "split": "train", "skip_corrupt": True}


@pytest.mark.parametrize(
    ("name", "n", "subset"),
    [
        ("imagenet", 10_000, {"stride": 50}),
        ("cifar10", 100_000, None),
        ("cifar10_1000", 10_000, {"stride": 10}),
        ("default", 10_000, None),
    ],
)
def test_certification(name, n, subset):
    cfg = get_config(f"certify/{name}")
    certifier = instantiate(cfg.certifier)
    assert (certifier.n0, certifier.n, certifier.alpha) == (100, n, 0.001)
    assert cfg.certify.subset == subset
    assert cfg.certify.precision == ("fp32" if name == "default" else "fp16")
    assert section(f"certify/{name}", "corruption") == {
        "_target_": "build_corruption",
        "name": "gaussian",
        "sigma": None,
    }


# config: parameters with the fixed positions, trained ones, parameters of each group
BUILT = {
    "imagenet/pretrain_base": (111_907_840, 111_655_680, [167, 85]),
    "imagenet/pretrain_large": (329_541_888, 329_239_296, [263, 133]),
    "cifar10_224/pretrain": (111_907_840, 111_655_680, [167, 85]),
    "imagenet/finetune_base_cr": (86_567_656, 86_567_656, [3, 1] + [8, 4] * 12 + [3, 1]),
    "imagenet/finetune_large_cr": (304_326_632, 304_326_632, [3, 1] + [8, 4] * 24 + [3, 1]),
    "cifar10_224/finetune_cr": (85_806_346, 85_806_346, [3, 1] + [8, 4] * 12 + [3, 1]),
    "imagenet/probe_base": (86_567_656, 769_000, [2]),
}


@pytest.mark.parametrize("name", BUILT)
def test_models_and_optimizers(name):
    model = model_of(name)
    optimizer = instantiate(get_config(name).optimizer, model=model)
    sizes = [parameter.numel() for parameter in model.parameters()]
    trained = [parameter.numel() for parameter in model.parameters() if parameter.requires_grad]
    assert (sum(sizes), sum(trained), [len(group["params"]) for group in optimizer.param_groups]) == BUILT[name]


def test_rates_of_the_layers_of_vit_base():
    """28 groups: layer by layer, biases and norms before matrices; the rate falls by 0.65 a layer."""
    model = model_of("imagenet/finetune_base_cr")
    groups = instantiate(get_config("imagenet/finetune_base_cr").optimizer, model=model).param_groups
    assert len(groups) == 28
    assert [group["lr_scale"] for group in groups] == pytest.approx(
        [0.65 ** (13 - layer) for layer in range(14) for _ in range(2)]
    )
    assert groups[0]["lr_scale"] == pytest.approx(0.003697, abs=1e-6)
    assert [group["weight_decay"] for group in groups] == [0.0, 0.05] * 14
    assert {(group["lr"], tuple(group["betas"]), group["eps"]) for group in groups} == {(2e-3, (0.9, 0.999), 1e-8)}
    names = {id(parameter): name.removeprefix("classifier.") for name, parameter in model.named_parameters()}
    first, last = ([names[id(parameter)] for parameter in group["params"]] for group in (groups[0], groups[-1]))
    assert first == ["backbone.cls_token", "backbone.pos_embed", "backbone.patch_embed.proj.bias"]
    assert last == ["head.weight"]


def test_the_built_probe():
    model = model_of("imagenet/probe_base")
    (group,) = instantiate(get_config("imagenet/probe_base").optimizer, model=model).param_groups
    assert (group["lr"], group["weight_decay"], group["momentum"], group["trust"]) == (6.4, 0.0, 0.9, 0.001)
    norm, linear = model.classifier.head
    assert (norm.eps, norm.momentum, norm.affine, linear.out_features) == (1e-6, 0.1, False, 1000)


def test_drop_path_rises_to_the_last_block():
    model = model_of("imagenet/finetune_base_cr")
    rates = [module.rate for module in model.modules() if isinstance(module, DropPath)]
    assert rates[0] == 0
    assert max(rates) == pytest.approx(0.1)
    assert rates == sorted(rates)


@pytest.mark.slow
def test_the_transforms_of_fine_tuning_give_pixels():
    """Importing timm takes seconds."""
    pytest.importorskip("timm")
    image = torch.randint(0, 256, (3, 375, 500), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with global_generators(0):
        for transform in instantiate(get_config("imagenet/finetune_base_cr").data.transform):
            image = transform(image)
    assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 224, 224))
    assert int(image.max()) > 100  # neither normalised nor in [0, 1]
