"""Training transforms and augmentations. They do not normalise: the model does this after the noise is added.

A *transform* takes one uint8 image ``[C,H,W]`` and uses the global random generators, which the loader seeds for each
image. Everything in ``torchvision.transforms.v2`` and timm works like this. An *augmentation* takes a whole micro-batch
and a numpy generator. It is much cheaper, which matters for small images. The batch may be on a GPU: an augmentation
draws its random numbers on the host and copies them to the GPU with ``to_device``.

The recipes for ImageNet, whose images have different sizes::

    crop = L(random_resized_crop)(size=224, scale=[0.2, 1.0])                                       # pre-training
    data = dict(..., transform=[crop], augment=[L(HorizontalFlip)()])

    crop, flip = L(random_resized_crop)(size=224), L(random_horizontal_flip)()                      # fine-tuning
    data = dict(..., transform=[crop, flip, L(rand_augment)()])

    data = dict(..., transform=[L(single_draw_crop)(size=224)], augment=[L(HorizontalFlip)()])      # linear probe
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from dmaelab.data.batch import to_device
from dmaelab.data.decode import to_tensor
from dmaelab.data.loader import Transform
from dmaelab.utils.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGENET_MEAN = (0.485, 0.456, 0.406)


class HorizontalFlip:
    """Augmentation: flip each image horizontally with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = _probability("HorizontalFlip", p)

    def __call__(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Return ``images`` [N,C,H,W] with some of them flipped."""
        n = len(images)
        flip = to_device(rng.random(n) < self.p, images.device)
        both = torch.cat([images, images.flip(-1)])  # copying whole rows takes a third of the time of torch.where
        return both.index_select(0, torch.arange(n, device=images.device) + n * flip)


class RandomCrop:
    """Augmentation: pad with zeros, then crop to the original size at a random position.

    Cohen et al. (2019) use ``padding=4`` on CIFAR-10.
    """

    def __init__(self, padding: int = 4) -> None:
        if padding < 0:
            raise UserError(f"RandomCrop: padding is {padding}, give a number of pixels >= 0")
        self.padding = padding

    def __call__(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        """Return ``images`` [N,C,H,W], each shifted by at most ``padding`` pixels in both directions."""
        n, _, height, width = images.shape
        top, left = to_device(rng.integers(0, 2 * self.padding + 1, size=(2, n)), images.device)
        padded = nn.functional.pad(images, (self.padding,) * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view [N,C,top,left,H,W]
        return windows[torch.arange(n, device=images.device), :, top, left]


def random_resized_crop(
    size: int, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)
) -> Transform:
    """Return the transform that crops a random box and resizes it to ``size`` x ``size``, bicubic with antialiasing.

    It gives the same pixels as torchvision's transform for the same random numbers, in two thirds of the time. MAE and
    DMAE use ``scale=(0.2, 1)`` in pre-training and the default in fine-tuning.

    Args:
        size: height and width of the result in pixels.
        scale: smallest and largest area of the box, as a fraction of the image's area.
        ratio: smallest and largest aspect ratio (width / height); its logarithm is uniformly distributed.

    Raises:
        UserError: ``size``, ``scale`` or ``ratio`` is out of range.
    """
    _check_box("random_resized_crop", size, scale, ratio)
    from torchvision.transforms import v2

    boxes = v2.RandomResizedCrop(size, scale, ratio)
    return lambda image: _resized(image, size, **boxes.make_params([image]))


def single_draw_crop(
    size: int, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)
) -> Transform:
    """Return the random crop for linear probes: like :func:`random_resized_crop`, but with one draw of the box.

    Area and log-ratio are drawn once instead of until the box fits into the image. A side that is too long is cut to
    that of the image, as in BYOL and in the linear probes of MAE and DMAE. Arguments and errors as there.
    """
    _check_box("single_draw_crop", size, scale, ratio)

    def crop(image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        area = height * width * torch.empty(()).uniform_(*scale).item()
        aspect = math.exp(torch.empty(()).uniform_(math.log(ratio[0]), math.log(ratio[1])).item())
        h = min(max(round(math.sqrt(area / aspect)), 1), height)
        w = min(max(round(math.sqrt(area * aspect)), 1), width)
        top, left = (int(torch.randint(free + 1, ())) for free in (height - h, width - w))
        return _resized(image, size, top, left, h, w)

    return crop


def _resized(image: Tensor, size: int, top: int, left: int, height: int, width: int) -> Tensor:
    """Return a box of an image [C,H,W] resized to [C,size,size]; torch is fastest on channels-last memory."""
    box = image[None, :, top : top + height, left : left + width].contiguous(memory_format=torch.channels_last)
    return nn.functional.interpolate(box, (size, size), mode="bicubic", antialias=True)[0]


def _check_box(name: str, size: int, scale: Sequence[float], ratio: Sequence[float]) -> None:
    if size < 1 or not 0 < scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
        raise UserError(
            f"{name}: size={size} must be >= 1, scale={scale} a range within (0, 1], ratio={ratio} a range above 0"
        )


def random_horizontal_flip(p: float = 0.5) -> nn.Module:
    """Return torchvision's transform that flips an image horizontally with probability ``p``.

    Use it only if another transform must follow. Otherwise :class:`HorizontalFlip` is faster.
    """
    from torchvision.transforms import v2

    return v2.RandomHorizontalFlip(_probability("random_horizontal_flip", p))


def rand_augment(policy: str = "rand-m9-mstd0.5-inc1", image_size: int = 224) -> Transform:
    """Return timm's RandAugment as a transform. MAE and DMAE use it in fine-tuning after crop and flip.

    By default it draws 2 of 15 operations with replacement and applies each with probability 1/2. The magnitude is
    drawn from a normal distribution with mean 9 and standard deviation 0.5, clipped to [0, 10]. Interpolation is
    bicubic, and pixels from outside the image get the mean colour of ImageNet. It takes and returns uint8 ``[3,H,W]``
    and uses the global generators of Python and numpy.

    Args:
        policy: ``"rand"`` and timm's options, joined by ``-``: ``m`` magnitude, ``mstd`` its standard deviation,
            ``mmax`` its upper bound, ``n`` number of operations, ``p`` their probability, ``inc1`` the variants of the
            operations whose strength increases with the magnitude.
        image_size: size of the images in pixels; it scales translations that are given in pixels.

    Raises:
        UserError: timm is not installed, or ``policy`` is invalid. The transform raises it for an image that is not
            uint8 ``[3,H,W]``.
    """
    # Checked here, because timm silently ignores unknown options.
    if not re.fullmatch(r"rand(-(m|n|inc|mmax)\d+|-(mstd|p)\d+(\.\d+)?)*", policy):
        raise UserError(
            f"rand_augment: '{policy}' is not 'rand' with options like m9, mstd0.5, inc1, n2, p0.5, mmax10, joined by"
            " '-'"
        )
    try:
        from timm.data.auto_augment import rand_augment_transform
    except ImportError as error:
        raise UserError("rand_augment needs timm: pip install timm") from error
    from PIL import Image

    mean = tuple(round(255 * value) for value in IMAGENET_MEAN)
    augment = rand_augment_transform(
        policy, {"translate_const": int(0.45 * image_size), "img_mean": mean, "interpolation": Image.Resampling.BICUBIC}
    )
    for operation in augment.ops:
        if operation.name.startswith("Posterize"):
            operation.aug_fn = _posterize

    def transform(image: Tensor) -> Tensor:
        if image.dtype != torch.uint8 or image.shape[:-2] != (3,):
            raise UserError(f"rand_augment takes uint8 images [3,H,W], not {image.dtype} {list(image.shape)}")
        return to_tensor(augment(Image.fromarray(image.permute(1, 2, 0).numpy())))

    return transform


def _posterize(image: "Image", bits: int, **_: object) -> "Image":
    """Keep the ``bits`` highest bits of each pixel value, as timm's function with Pillow before 13 does.

    timm asks for 0 bits at magnitude 10, and for less where ``mmax`` allows more than 10. The image is black then.
    Pillow 13 refuses fewer bits than 1.
    """
    from PIL import Image, ImageOps

    if bits >= 8:
        return image
    return ImageOps.posterize(image, bits) if bits > 0 else Image.new(image.mode, image.size)


def _probability(name: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise UserError(f"{name}: p is {p}, give a probability between 0 and 1")
    return p
