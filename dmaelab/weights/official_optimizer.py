"""Optimizer states of the official trainers, in which a parameter is found by its place in their order."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dmaelab.modeling.denoising_mae import DenoisingMAE
from dmaelab.weights.files import WeightsError
from dmaelab.weights.layouts import official_layout, official_name, unwrapped

_NOT_DECAYED = ("pos_embed", "cls_token")  # in fine-tuning; pre-training decays the class and the mask token


def from_official_optimizer(
    state: Mapping[str, Any], model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """Return a state that ``optimizer.load_state_dict`` takes, made of the entry ``"optimizer"`` of an official
    trainer's file.

    Moments and step counts come from the file. The options of the groups (rate, decay, betas) stay those of
    ``optimizer``: the schedule sets the rate at each step in both. Pre-training has two groups, not decayed before
    decayed; fine-tuning has one for each layer and decay, in the order of their first members, 28 for ViT-B.

    Args:
        state: ``{"state": {place: {"step", "exp_avg", "exp_avg_sq"}}, "param_groups": [...]}``.
        model: a ``DenoisingMAE``, or a ``Classifier`` with a ViT, also inside a ``NoisyClassifier``.
        optimizer: AdamW over all trainable parameters of ``model``, in groups of any kind.

    Raises:
        WeightsError: ``state`` is none of torch's, has another number of groups, members or states than the official
            trainer of this model, or moments of another shape; or ``optimizer`` is not one of ``model``.
        UserError: ``model`` has no ViT.
    """
    try:
        given, moments = [list(group["params"]) for group in state["param_groups"]], state["state"]
    except (KeyError, TypeError):
        raise WeightsError(
            'not the state of an optimizer, {"state": ..., "param_groups": [...]}: pass the file\'s "optimizer"'
        ) from None
    parameters = {name: p for name, p in unwrapped(dict(model.named_parameters())).items() if p.requires_grad}
    groups = _official_groups(parameters, model)
    if [len(group) for group in given] != [len(group) for group in groups]:
        raise WeightsError(
            f"the optimizer state has {_counts(given)}, and the official trainer of this model {_counts(groups)}"
        )
    places = {
        name: place
        for names, members in zip(groups, given, strict=True)
        for name, place in zip(names, members, strict=True)
    }
    names = {id(p): official_name(name) for name, p in parameters.items()}
    order = [names.get(id(p), "") for group in optimizer.param_groups for p in group["params"]]
    if sorted(order) != sorted(names.values()):
        raise WeightsError(
            f"the optimizer moves {len(order)} parameters, which are not the {len(names)} that the model trains"
        )
    if moments and set(moments) != set(places.values()):
        raise WeightsError(
            f"the optimizer state holds moments of {len(moments)} parameters, and the model has {len(places)}"
        )
    mapped = {index: dict(moments[places[name]]) for index, name in enumerate(order) if moments}
    shapes = {official_name(name): p.shape for name, p in parameters.items()}
    for index, entry in mapped.items():
        for moment in ("exp_avg", "exp_avg_sq"):
            found = list(entry[moment].shape) if isinstance(entry.get(moment), Tensor) else "missing"
            if found != list(shapes[order[index]]):
                raise WeightsError(
                    f"the optimizer state's {moment} of {order[index]} is {found}, and AdamW needs"
                    f" {list(shapes[order[index]])}"
                )
    return {"state": mapped, "param_groups": optimizer.state_dict()["param_groups"]}


def _official_groups(parameters: Mapping[str, Tensor], model: nn.Module) -> list[list[str]]:
    """Return the official names of the trainable parameters in the groups of the official trainers."""
    official = official_layout(parameters)
    depth = len({name.split(".")[1] for name in official if name.startswith("blocks.")})
    fine_tuning = not isinstance(model, DenoisingMAE)
    groups: dict[tuple[int, bool], list[str]] = {} if fine_tuning else {(0, False): [], (0, True): []}
    for name, parameter in official.items():
        decayed = parameter.ndim > 1 and not (fine_tuning and name in _NOT_DECAYED)
        groups.setdefault((_layer(name, depth) if fine_tuning else 0, decayed), []).append(name)
    return list(groups.values())


def _layer(name: str, depth: int) -> int:
    if name in ("cls_token", "pos_embed") or name.startswith("patch_embed."):
        return 0
    return int(name.split(".")[1]) + 1 if name.startswith("blocks.") else depth + 1


def _counts(groups: list[list[Any]]) -> str:
    sizes = [len(group) for group in groups]
    return f"{len(groups)} groups of {' + '.join(map(str, sizes))} parameters"
