"""Decode image files to RGB pixels."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dmaelab.utils.errors import MachineError, UserError
from dmaelab.utils.machine import machine_error

if TYPE_CHECKING:
    from PIL.Image import Image


def read_rgb(file: str) -> Tensor:
    """Return an image file as uint8 ``[3,H,W]``, with pixels interleaved in memory (channels-last strides).

    The pixels are those of PIL's ``convert("RGB")``. Grey and RGB JPEGs are decoded by torchvision, which is faster.
    Both use libjpeg-turbo with its defaults, and give equal pixels. PIL decodes all other files: other formats, CMYK,
    and JPEGs that torchvision refuses. The strides are kept because torch resizes interleaved pixels faster.

    Raises:
        UserError: the file cannot be read. The message gives its name.
        MachineError: the machine failed, for example because too many files are open.
    """
    content, image = _open(file)
    if image.format == "JPEG" and image.mode in ("L", "RGB"):
        try:
            pixels = _decode_jpeg(content)
            return pixels if len(pixels) == 3 else pixels.repeat(3, 1, 1)
        except (RuntimeError, AttributeError):  # a damaged file, or a torchvision without this decoder
            pass
    return to_tensor(_convert(file, image))


def _decode_jpeg(content: bytes) -> Tensor:
    """Decode a JPEG to uint8 [1 or 3,H,W].

    This calls the operator behind ``torchvision.io.decode_jpeg``. Since torchvision 0.29 that function warns at each
    call that it will be removed. If the operator is removed too, PIL decodes all files.
    """
    import torchvision  # noqa: F401 - importing it registers the operator

    unchanged, turn_by_exif = 0, False
    return torch.ops.image.decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), unchanged, turn_by_exif)


def read_pil(file: str) -> "Image":
    """Return an image file as a PIL image in RGB; errors as in :func:`read_rgb`."""
    return _convert(file, _open(file)[1])


def to_tensor(image: "Image") -> Tensor:
    """Return a PIL image in RGB as uint8 ``[3,H,W]``, with pixels interleaved in memory."""
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)  # faster than a numpy array
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
    """Return the exceptions that PIL's decoders raise."""
    from PIL.Image import DecompressionBombError

    return OSError, SyntaxError, ValueError, DecompressionBombError


def _unreadable(file: str, error: Exception) -> UserError | MachineError:
    if fault := machine_error(error, path=file):
        return fault
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return UserError(f"cannot read image {file}: {reason}; repair or remove it, or set skip_corrupt=True")
