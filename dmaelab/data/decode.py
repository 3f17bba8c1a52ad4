"""From an image file to RGB pixels."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dmaelab.utils.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image


def read_rgb(file: str) -> Tensor:
    """Return an image file as uint8 ``[3,H,W]``, its pixels interleaved in memory (the strides of channels-last).

    What PIL's ``convert("RGB")`` gives. A grey or colour JPEG is decoded by torchvision, straight into a tensor, which
    is faster: both use libjpeg-turbo with its defaults, and their pixels are equal. PIL has the say on all else: other
    formats, CMYK, and what torchvision refuses. The strides are kept, since torch resizes interleaved pixels faster.

    Raises:
        UserError: if the file cannot be read, with its name.
    """
    content, image = _open(file)
    if image.format == "JPEG" and image.mode in ("L", "RGB"):
        try:
            pixels = _decode_jpeg(content)
            return pixels if len(pixels) == 3 else pixels.repeat(3, 1, 1)
        except (RuntimeError, AttributeError):  # damaged; or a torchvision without decoders
            pass
    return to_tensor(_convert(file, image))


def _decode_jpeg(content: bytes) -> Tensor:
    """Return uint8 [1 or 3,H,W].

    The operator behind ``torchvision.io.decode_jpeg``, which warns at each call, since torchvision 0.29, that it will
    go one day. Then PIL reads everything.
    """
    import torchvision  # noqa: F401 - it registers the operator

    unchanged, turn_by_exif = 0, False
    return torch.ops.image.decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), unchanged, turn_by_exif)


def read_pil(file: str) -> "Image":
    """Return an image file as PIL's RGB image; errors as in :func:`read_rgb`."""
    return _convert(file, _open(file)[1])


def to_tensor(image: "Image") -> Tensor:
    """Return PIL's RGB image as uint8 ``[3,H,W]``, its pixels interleaved in memory."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)  # faster than by way of numpy
    return pixels.view(image.height, image.width, 3).permute(2, 0, 1)


def _open(file: str) -> "tuple[bytes, Image]":
    from PIL import Image

    try:
        content = Path(file).read_bytes()
        return content, Image.open(BytesIO(content))
    except _faults() as error:
        raise _unreadable(file, error) from error


def _convert(file: str, image: "Image") -> "Image":
    try:
        return image.convert("RGB")
    except _faults() as error:
        raise _unreadable(file, error) from error


def _faults() -> tuple[type[Exception], ...]:
    """Return all that PIL's decoders raise."""
    from PIL.Image import DecompressionBombError

    return OSError, SyntaxError, ValueError, DecompressionBombError


def _unreadable(file: str, error: Exception) -> UserError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"cannot read image {file}: {reason}; mend or remove it, or set skip_corrupt=True")
