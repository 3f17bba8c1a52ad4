"""Rename weights between this project's names and the official ones of DMAE, MAE and timm's ViT.

============================  ==============================
official                      here
============================  ==============================
``blocks.0.norm1.weight``     ``encoder.blocks.0.norm1.weight`` in an autoencoder, ``backbone.`` in a classifier
``decoder_blocks.0...``       ``decoder.blocks.0...``
``mask_token``                ``decoder.mask_token``
``head.weight``               ``head.weight``
(not in official files)       ``preprocess.pixel_mean``, ``preprocess.pixel_std``
============================  ==============================

All functions return new dictionaries. They check names only, neither shapes nor values.
"""

from collections.abc import Mapping

from torch import Tensor

from dmaelab.utils.errors import UserError

State = Mapping[str, Tensor]

_CLASSIFIER_ROOTS = ("head", "fc_norm")  # only classifiers have these
_WRAPPER_ROOTS = ("corruption", "loss")  # a NoisyClassifier has these beside its classifier
# First parts of the official names, in the order of the official models' state_dict.
_ORDER = (
    "cls_token", "pos_embed", "mask_token", "decoder_pos_embed", "patch_embed", "blocks", "norm", "head", "fc_norm",
    "decoder_embed", "decoder_blocks", "decoder_norm", "decoder_pred",
)  # fmt: skip


def unwrap(state: State) -> dict[str, Tensor]:
    """Return a state without the prefixes of wrappers: ``module.`` of DDP, ``classifier.`` of a NoisyClassifier.

    The tensors of a NoisyClassifier's corruption and loss are left out. Any other name beside ``classifier.`` is kept,
    so that the caller can refuse it.
    """
    names = (
        {name: name.removeprefix("module.") for name in state}
        if all(name.startswith("module.") for name in state)
        else {}
    )
    plain = {names.get(name, name): value for name, value in state.items()}
    if not any(name.startswith("classifier.") for name in plain):
        return plain
    inner = {name: name.removeprefix("classifier.") for name in plain if _root(name) not in _WRAPPER_ROOTS}
    if len(set(inner.values())) < len(inner):  # a name occurs with and without the prefix: not a NoisyClassifier
        return plain
    return {inner[name]: plain[name] for name in inner}


def is_official(state: State) -> bool:
    """Return whether the names of an unwrapped state (see :func:`unwrap`) are the official ones."""
    return any(_root(name) in ("cls_token", "pos_embed", "patch_embed", "blocks") for name in state)


def rename_to_own(state: State) -> dict[str, Tensor]:
    """Return a state with either kind of names under this project's names; unknown names do not change."""
    state = unwrap(state)
    if not is_official(state):
        return state
    trunk = "backbone" if any(_root(name) in _CLASSIFIER_ROOTS for name in state) else "encoder"
    return {_own_name(name, trunk): value for name, value in state.items()}


def rename_to_official(state: State) -> dict[str, Tensor]:
    """Return a state with this project's names under the official names, in their order, without pixel statistics.

    Raises:
        UserError: a tensor has no official name, because the model has no ViT.
    """
    renamed = {official_name(name): value for name, value in state.items() if not name.startswith("preprocess.")}
    rank = {root: place for place, root in enumerate(_ORDER)}
    for name in renamed:
        if _root(name) not in rank:
            raise UserError(
                f"{name} has no name in the official layout, which exists only for autoencoders and classifiers with a"
                " ViT"
            )
    return {
        name: renamed[name] for name in sorted(renamed, key=lambda name: rank[_root(name)])
    }  # stable: blocks keep their order


def rename_to_timm(state: State) -> dict[str, Tensor]:
    """Return a state under the names of timm's ``VisionTransformer``: the official names, without the decoder."""
    return rename_to_official({name: value for name, value in state.items() if not name.startswith("decoder.")})


def official_name(name: str) -> str:
    """Return the official name of a tensor, given its name in this project."""
    if name == "decoder.mask_token":
        return "mask_token"
    if name.startswith("decoder."):
        return name.replace("decoder.", "decoder_", 1)
    return name.removeprefix("encoder.").removeprefix("backbone.")


def _own_name(name: str, trunk: str) -> str:
    if name == "mask_token":
        return "decoder.mask_token"
    if name.startswith("decoder_"):
        return name.replace("decoder_", "decoder.", 1)
    return name if _root(name) == "head" else f"{trunk}.{name}"


def _root(name: str) -> str:
    return name.split(".")[0]
