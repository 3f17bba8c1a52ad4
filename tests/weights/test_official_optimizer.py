"""Optimizer states in the order of the official trainers, onto our groups."""

import copy

import pytest
import torch

from dmaelab.corruptions import Gaussian
from dmaelab.losses import RS, MSEAllPatches
from dmaelab.modeling import CifarResNet, Classifier, DenoisingMAE, MAEDecoder, NoisyClassifier, ViT, build_backbone
from dmaelab.solver import build_adamw
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw
from dmaelab.weights import WeightsError, from_official_optimizer
from dmaelab.weights.layouts import official_layout, unwrapped

RGB = [0.5] * 3, [0.25] * 3
DEPTH = 2


def vit(pool):
    return ViT(24, DEPTH, 3, image_size=8, patch_size=4, pool=pool)


def autoencoder():
    return DenoisingMAE(vit(None), lambda e: MAEDecoder(e, 16, 1, 2), Gaussian(0.25), MSEAllPatches(), *RGB)


def classifier(pool):
    return NoisyClassifier(Classifier(vit(pool), 4, *RGB), Gaussian(0.25), RS())


MODELS = {"autoencoder": autoencoder, "gap": lambda: classifier("gap"), "cls": lambda: classifier("cls")}


def official_groups(kind):
    """Return the names in the groups of the official trainers, written out: two, or one for each layer and decay."""

    def block(name):
        norms = [f"{name}.{norm}" for norm in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")]
        layers = [f"{name}.{layer}" for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")]
        biases = [f"{layer}.bias" for layer in layers]
        return [*norms[:2], *biases[:2], *norms[2:], *biases[2:]], [f"{layer}.weight" for layer in layers]

    if kind == "autoencoder":
        (plain_a, decayed_a), (plain_b, decayed_b), (plain_c, decayed_c) = map(
            block, ("blocks.0", "blocks.1", "decoder_blocks.0")
        )
        plain = [
            "patch_embed.proj.bias",
            *plain_a,
            *plain_b,
            "norm.weight",
            "norm.bias",
            "decoder_embed.bias",
            *plain_c,
        ]
        decayed = [
            "cls_token",
            "mask_token",
            "patch_embed.proj.weight",
            *decayed_a,
            *decayed_b,
            "decoder_embed.weight",
            *decayed_c,
        ]
        return [
            [*plain, "decoder_norm.weight", "decoder_norm.bias", "decoder_pred.bias"],
            [*decayed, "decoder_pred.weight"],
        ]
    groups = [
        ["cls_token", "pos_embed", "patch_embed.proj.bias"],
        ["patch_embed.proj.weight"],
        *block("blocks.0"),
        *block("blocks.1"),
    ]
    if kind == "gap":
        return [*groups, ["head.weight"], ["head.bias", "fc_norm.weight", "fc_norm.bias"]]
    return [*groups, ["norm.weight", "norm.bias", "head.bias"], ["head.weight"]]


def official_state(model, kind):
    """Return an official trainer's AdamW after one step on the gradients, and the parameters by official name."""
    named = official_layout(unwrapped(dict(model.named_parameters())))
    copies = {name: torch.nn.Parameter(value.detach().clone()) for name, value in named.items()}
    for name, value in copies.items():
        value.grad = Draw(0, "data", name).normal(value.shape)
    groups = [{"params": [copies[name] for name in names], "weight_decay": 0.0} for names in official_groups(kind)]
    optimizer = torch.optim.AdamW(groups, lr=0.0)
    optimizer.step()
    return optimizer.state_dict(), copies


@pytest.mark.parametrize("kind", MODELS)
def test_each_parameter_gets_its_own_moments(kind):
    model = MODELS[kind]()
    state, gradients = official_state(model, kind)
    optimizer = build_adamw(
        model, lr=0.1, layer_decay=1.0 if kind == "autoencoder" else 0.5, no_decay=["pos_embed", "cls_token"]
    )
    rates = [group["weight_decay"] for group in optimizer.param_groups]
    optimizer.load_state_dict(from_official_optimizer(state, model, optimizer))
    trainable = {
        name: p for name, p in official_layout(unwrapped(dict(model.named_parameters()))).items() if p.requires_grad
    }  # the tables of positions are frozen in pre-training
    assert len(optimizer.state) == len(trainable)
    for name, parameter in trainable.items():
        entry = optimizer.state[parameter]
        torch.testing.assert_close(entry["exp_avg"], 0.1 * gradients[name].grad, msg=name)
        torch.testing.assert_close(entry["exp_avg_sq"], 0.001 * gradients[name].grad ** 2, msg=name)
        assert entry["step"] == 1
    assert [group["weight_decay"] for group in optimizer.param_groups] == rates


def test_it_continues_as_the_official_optimizer_would():
    model = autoencoder()
    state, copies = official_state(model, "autoencoder")
    for entry in state["state"].values():
        entry["step"] = 1  # a number, as torch before 1.12 saved it
    groups = [
        {"params": [copies[name] for name in names], "weight_decay": w}
        for names, w in zip(official_groups("autoencoder"), (0.0, 0.05), strict=True)
    ]
    theirs = torch.optim.AdamW(groups, lr=0.01)
    theirs.load_state_dict(copy.deepcopy(state))
    for group, decay in zip(theirs.param_groups, (0.0, 0.05), strict=True):
        group.update(lr=0.01, weight_decay=decay)
    ours = build_adamw(model, lr=0.01, weight_decay=0.05)
    ours.load_state_dict(from_official_optimizer(state, model, ours))
    named = official_layout(unwrapped(dict(model.named_parameters())))
    for name, parameter in named.items():
        if parameter.requires_grad:
            parameter.grad = copies[name].grad.clone()
    theirs.step()
    ours.step()
    for name, parameter in named.items():
        torch.testing.assert_close(parameter.detach(), copies[name].detach(), atol=1e-6, rtol=1e-5, msg=name)


def test_an_optimizer_that_has_made_no_step():
    model = autoencoder()
    state, _ = official_state(model, "autoencoder")
    optimizer = build_adamw(model, lr=0.1)
    assert from_official_optimizer({**state, "state": {}}, model, optimizer)["state"] == {}


def test_another_model_is_refused_in_one_line():
    model = autoencoder()
    optimizer = build_adamw(model, lr=0.1)
    state, _ = official_state(model, "autoencoder")
    fine, _ = official_state(classifier("gap"), "gap")
    with pytest.raises(
        WeightsError,
        match=r"has 8 groups of 3 \+ 1 \+ 8 .*, and the official trainer of this model 2 groups of 31 \+ 17",
    ):
        from_official_optimizer(fine, model, optimizer)
    short = {**state, "state": {place: entry for place, entry in state["state"].items() if place}}
    with pytest.raises(WeightsError, match="holds moments of 47 parameters, and the model has 48"):
        from_official_optimizer(short, model, optimizer)
    place = state["param_groups"][1]["params"][0]
    for wrong, message in [
        ({"exp_avg_sq": torch.zeros(3)}, r"exp_avg_sq of cls_token is \[3\]"),
        ({}, "exp_avg of cls_token is missing"),
    ]:
        entry = {"exp_avg": torch.zeros(1, 1, 24), **wrong} if wrong else {"momentum_buffer": torch.zeros(1, 1, 24)}
        with pytest.raises(WeightsError, match=message):
            from_official_optimizer({**state, "state": {**state["state"], place: entry}}, model, optimizer)


def test_what_is_no_state_or_of_no_vit_is_refused_in_one_line():
    model = autoencoder()
    optimizer = build_adamw(model, lr=0.1)
    state, _ = official_state(model, "autoencoder")
    for wrong in (
        {"model": {}, "optimizer": state},
        {"param_groups": state["param_groups"]},
        {"state": {}, "param_groups": [3]},
        None,
    ):
        with pytest.raises(WeightsError, match=r'^not the state of an optimizer, .*: pass the file\'s "optimizer"$'):
            from_official_optimizer(wrong, model, optimizer)
    with pytest.raises(WeightsError, match="moves 48 parameters, which are not the 48 that the model trains"):
        from_official_optimizer(state, model, build_adamw(autoencoder(), lr=0.1))
    resnet = NoisyClassifier(Classifier(CifarResNet(8), 4, *RGB), Gaussian(0.25), RS())
    with pytest.raises(UserError, match=r"^conv1\.weight has no name in the official layout"):
        from_official_optimizer(state, resnet, build_adamw(resnet, lr=0.1))


@pytest.mark.parametrize(
    ("name", "groups"),
    [("vit_base", [167, 85]), ("vit_large", [263, 133]), ("fine-tuned vit_base", [3, 1, *[8, 4] * 12, 1, 3])],
)
def test_the_counts_of_the_released_models(name, groups):
    """A state with the right counts and no moments is taken, one parameter more is not."""
    with torch.device("meta"):
        if name.startswith("fine"):
            model = Classifier(build_backbone("vit_base"), 1000, *RGB)
        else:
            model = DenoisingMAE(build_backbone(name, pool=None), MAEDecoder, None, MSEAllPatches(), *RGB)
    optimizer = build_adamw(model, lr=0.1)

    def state(sizes):
        return {
            "state": {},
            "param_groups": [{"params": list(range(sum(sizes[:i]), sum(sizes[: i + 1])))} for i in range(len(sizes))],
        }

    assert from_official_optimizer(state(groups), model, optimizer)["state"] == {}
    with pytest.raises(WeightsError, match=f"{len(groups)} groups of "):
        from_official_optimizer(state([*groups[:-1], groups[-1] + 1]), model, optimizer)
