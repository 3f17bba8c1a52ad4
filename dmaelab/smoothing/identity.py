"""The identity of a certification log: all settings that determine its rows.

It stands in the header of the log. Logs are merged, and a run is resumed, only if the hashes of the identities agree.
"""

import hashlib
import math
import platform
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from dmaelab.certifiers.base import Certifier
from dmaelab.certifiers.identity import identity_of
from dmaelab.corruptions import CORRUPTIONS
from dmaelab.records.indices import subset
from dmaelab.rules.attention import attention_of
from dmaelab.smoothing.noise import noise_version
from dmaelab.smoothing.smoothing import Smoothing
from dmaelab.stats.geometry import geometry_name
from dmaelab.utils.env import environment


def weights_hash(module: nn.Module) -> str:
    """Return the blake2b hash (32 hex digits) of the names, dtypes, shapes and bytes of a module's state dict.

    It is the same on every device, and the same for a module and its wrapper by ``torch.compile``.
    """
    module = getattr(module, "_orig_mod", module)
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, torch.Tensor):
            digest.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def image_hash(image: torch.Tensor, label: int) -> str:
    """Return the blake2b hash (16 hex digits) of an image [C,H,W] in [0,1], rounded to 8 bits, and its label."""
    pixels = (255 * image).round().to(torch.uint8).contiguous().numpy().tobytes()
    return hashlib.blake2b(pixels + str(label).encode(), digest_size=8).hexdigest()


def make_identity(
    smoothing: Smoothing,
    certifier: Certifier,
    *,
    indices: Sequence[int],
    first: tuple[torch.Tensor, int],
) -> dict[str, Any]:
    """Return the identity of a certification as a dict of plain values.

    It holds the type of the device, because a random address gives other numbers on a CPU than on a GPU.

    Args:
        smoothing: the smoothed classifier, whose weights, noise, arithmetic, batch size and seed determine the rows.
        certifier: the certifier, whose options determine the rows too.
        indices: indices of the images in the data set.
        first: the image [C,H,W] with the lowest index, on the CPU, and its label. Its hash shows if another data set is
            certified into the same folder.
    """
    noise = CORRUPTIONS.name_and_options(smoothing.corruption)
    classifier, geometry, sigma = smoothing.classifier, smoothing.geometry, smoothing.sigma
    device = smoothing.device.type
    image, label = first
    shape = tuple(image.shape)
    noise.pop("sigma", None)
    return {
        "sigma": sigma,
        **identity_of(certifier),
        "corruption": noise,
        "norm": geometry.norm,
        "geometry": geometry_name(geometry),
        "fp_sound": geometry.fp_sound,
        "tau": geometry.tau(sigma, math.prod(shape)),
        "seed": smoothing.seed,
        "subset": subset(indices),
        "first_image": image_hash(image, label),
        "shape": list(shape),
        "classes": smoothing.num_classes,
        "network": type(getattr(classifier, "_orig_mod", classifier)).__qualname__,
        "weights": weights_hash(classifier),
        **smoothing.arithmetic.identity(),
        **({"own_randomness": True} if smoothing.own_randomness else {}),
        **attention_of(classifier, device),
        "batch_shape": [smoothing.batch_size, *shape],
        "noise": noise_version(device),
    }


def make_context(device: torch.device) -> dict[str, Any]:
    """Return facts that are recorded but never compared: the command, versions, device and host."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {**environment(), "device": name}
