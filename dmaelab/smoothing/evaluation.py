"""How a classifier is evaluated: what, besides its weights, decides the last bits of its logits.

A certificate is for the network as it is evaluated, so all of this is part of a log's identity.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import cast

import torch
from torch import nn

from dmaelab.utils.errors import UserError, did_you_mean
from dmaelab.utils.precision import PRECISIONS, autocast, precision_rule

# Never timed inside a run: benchmarks/evaluation.py compares, and docs/benchmarks.md says why it is neither.
_RULE = {"cpu": {"channels_last": False, "compile": False}, "cuda": {"channels_last": False, "compile": False}}


@dataclass(frozen=True)
class Evaluation:
    """The arithmetic of the forward.

    Attributes:
        precision: ``"fp32"`` (without TF32), ``"bf16"`` or ``"fp16"`` by autocast, or ``"auto"``: bf16 where the device
            has it, else fp32.
        channels_last: memory format of convolution weights and images; None takes the rule of the device.
        compile: run the module through ``torch.compile``; None takes the rule of the device.

    Raises:
        UserError: an unknown precision.
    """

    precision: str = "fp32"
    channels_last: bool | None = None
    compile: bool | None = None

    def __post_init__(self) -> None:
        known = (*PRECISIONS, "auto")
        if self.precision not in known:
            raise UserError(f"unknown precision '{self.precision}'{did_you_mean(self.precision, known)}: one of {', '.join(known)}")

    def resolved(self, device: torch.device) -> "Evaluation":
        """Return it with the rule of the device written in."""
        chosen = {name: value for name, value in asdict(self).items() if value is not None}
        if self.precision == "auto":
            chosen["precision"] = precision_rule(device.type)
        return Evaluation(**{**_RULE["cuda" if device.type == "cuda" else "cpu"], **chosen})

    def prepare(self, classifier: nn.Module) -> nn.Module:
        """Return the module to call, in eval mode; ``channels_last`` changes the strides of its weights in place.

        What has been prepared stays as it is.
        """
        classifier.eval()
        if self.channels_last:
            classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cast(nn.Module, torch.compile(classifier)) if self.compile and not is_compiled(classifier) else classifier

    def images(self, count: int, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """Return a buffer for ``count`` images of ``shape`` [C,H,W], zeros, in the memory format."""
        images = torch.zeros(count, *shape, device=device)
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the context for one forward."""
        return autocast(self.precision, device.type)


def is_compiled(module: nn.Module) -> bool:
    """Whether a module has been through ``torch.compile``."""
    return hasattr(module, "_orig_mod")


FP32 = Evaluation()
"""Full precision, the rest by the rule of the device."""


@contextmanager
def fixed_kernels(device: torch.device) -> Iterator[None]:
    """Switch off TF32, cuDNN's timing of kernels (which may choose others in the next process) and any surrounding
    autocast, for a whole run; put everything back after.

    The autocast that is open but disabled lets those of the single forwards inside keep their copies of
    the weights, which are freed only when the outermost one ends.
    """
    matmul, conv, timing = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = conv, timing
