"""The arithmetic of a forward: what, besides the weights of a classifier, decides the last bits of its logits.

A certificate is for the network as it is evaluated, so all of this is part of a log's identity.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from dmaelab.rules.compilation import Compile, compile_blocks, compile_rule, compiled_as
from dmaelab.rules.cuda_graphs import cuda_graph_rule
from dmaelab.rules.memory_format import channels_last_rule
from dmaelab.rules.precision import precision_rule
from dmaelab.utils.errors import UserError, did_you_mean
from dmaelab.utils.precision import PRECISIONS, autocast


@dataclass(frozen=True)
class Arithmetic:
    """The arithmetic of the forward.

    Attributes:
        precision: ``"fp32"`` (without TF32), ``"bf16"`` or ``"fp16"`` by autocast, or ``"auto"``: bf16 where the device
            has it, else fp32.
        channels_last: memory format of convolution weights and images; None takes the rule of the device.
        compile: ``True`` runs the module through ``torch.compile``, ``"blocks"`` each of its repeated blocks, which
            starts faster; None takes the rule of the device.
        cuda_graph: record the kernels of one forward and replay them for every batch, which spares the host; None takes
            the rule of the device.

    Raises:
        UserError: an unknown precision or way to compile; in :meth:`resolved`, a CUDA graph on another device than
            CUDA; in :meth:`prepare`, blocks of a module that repeats none.
    """

    precision: str = "fp32"
    channels_last: bool | None = None
    compile: Compile | None = None
    cuda_graph: bool | None = None

    def __post_init__(self) -> None:
        known = (*PRECISIONS, "auto")
        if self.precision not in known:
            raise UserError(
                f"unknown precision '{self.precision}'{did_you_mean(self.precision, known)}: one of {', '.join(known)}"
            )
        if self.compile not in (None, True, False, "blocks"):
            raise UserError(f"compile is {self.compile!r}: choose True, False or 'blocks'")

    def resolved(self, device: torch.device) -> "Arithmetic":
        """Return it with the rules of the device written in."""
        if self.cuda_graph and device.type != "cuda":
            raise UserError(
                f"cuda_graph is True and the device is '{device}': a CUDA graph needs a CUDA device, leave cuda_graph"
                " open"
            )
        rules = {"channels_last": channels_last_rule, "compile": compile_rule, "cuda_graph": cuda_graph_rule}
        open_fields: dict[str, Any] = {
            name: rule(device.type) for name, rule in rules.items() if getattr(self, name) is None
        }
        precision = precision_rule(device.type) if self.precision == "auto" else self.precision
        return replace(self, precision=precision, **open_fields)

    def identity(self) -> dict[str, Any]:
        """Return what of it determines a log: all of it, but a CUDA graph only where there is one.

        A graph replays the kernels that would be launched, but it has been recorded in another stream, where a
        library may choose others.
        """
        return {name: value for name, value in asdict(self).items() if name != "cuda_graph" or value}

    def prepare(self, classifier: nn.Module) -> nn.Module:
        """Return the module to call, in eval mode; ``channels_last`` changes the strides of its weights in place.

        Blocks are compiled in place, too. What has been prepared stays as it is.
        """
        classifier.eval()
        if self.channels_last:
            classifier.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self.compile == "blocks" and not compile_blocks(classifier):
            raise UserError(
                f"{type(classifier).__name__} has no repeated blocks to compile: set compile=True, or leave it out"
            )
        return (
            cast(nn.Module, torch.compile(classifier))
            if self.compile is True and not compiled_as(classifier)
            else classifier
        )

    def images(self, count: int, shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
        """Return a buffer for ``count`` images of ``shape`` [C,H,W], zeros, in the memory format."""
        images = torch.zeros(count, *shape, device=device)
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the context for one forward."""
        return autocast(self.precision, device.type)


FP32 = Arithmetic()
"""Full precision, the rest by the rules of the device."""


@contextmanager
def fixed_kernels(device: torch.device) -> Iterator[None]:
    """Switch off TF32, cuDNN's timing of kernels (which may choose others in the next process) and any surrounding
    autocast, for a whole run; put everything back after.

    The autocast that is open but disabled lets those of the single forwards inside keep their copies of
    the weights, which are freed only when the outermost one ends.
    """
    matmul, conv, timing = (
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cudnn.benchmark,
    )
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = conv, timing
