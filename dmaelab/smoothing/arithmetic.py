"""The arithmetic of a forward pass: precision, memory format, compilation and CUDA graphs.

These settings change the last bits of the logits, even with the same weights. A certificate is for the network as it is
evaluated, so they are part of a log's identity.
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
    """How the forward pass of a classifier is computed.

    None means that the rule of the device decides (:mod:`dmaelab.rules`); :meth:`resolved` applies these rules.

    Attributes:
        precision: ``"fp32"`` (without TF32), ``"bf16"`` or ``"fp16"`` by autocast, or ``"auto"``: bf16 if the device
            supports it, else fp32.
        channels_last: whether convolution weights and images are in the channels-last memory format.
        compile: ``True`` compiles the whole module with ``torch.compile``; ``"blocks"`` compiles each of its repeated
            blocks, which starts faster; ``False`` compiles nothing.
        cuda_graph: whether the kernels of one forward are recorded and replayed for every batch. This saves the time
            that the CPU needs to launch them.

    Raises:
        UserError: an unknown precision or way to compile; in :meth:`resolved`, a CUDA graph on another device than
            CUDA; in :meth:`prepare`, ``"blocks"`` for a module without repeated blocks.
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
        """Return a copy in which the rules of ``device`` have replaced ``"auto"`` and None."""
        if self.cuda_graph and device.type != "cuda":
            raise UserError(
                f"cuda_graph is True and the device is '{device}': a CUDA graph needs a CUDA device, set cuda_graph"
                " (certify.cuda_graph in a config) to False or None"
            )
        rules = {"channels_last": channels_last_rule, "compile": compile_rule, "cuda_graph": cuda_graph_rule}
        open_fields: dict[str, Any] = {
            name: rule(device.type) for name, rule in rules.items() if getattr(self, name) is None
        }
        precision = precision_rule(device.type) if self.precision == "auto" else self.precision
        return replace(self, precision=precision, **open_fields)

    def identity(self) -> dict[str, Any]:
        """Return the settings as they stand in the identity of a log; ``cuda_graph`` is left out unless it is True.

        A CUDA graph counts because it is recorded in another stream, in which a library may choose other kernels.
        """
        return {name: value for name, value in asdict(self).items() if name != "cuda_graph" or value}

    def prepare(self, classifier: nn.Module) -> nn.Module:
        """Return the module to call, in eval mode, converted and compiled as the settings say.

        The memory format is changed in place, and so are compiled blocks; ``compile=True`` returns a wrapper. A module
        that is compiled already is not compiled again.

        Raises:
            UserError: ``compile="blocks"``, and the module has no repeated blocks.
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
        """Return zeros [count,C,H,W], float32, for ``count`` images of ``shape`` (C, H, W), in the memory format."""
        images = torch.zeros(count, *shape, device=device)
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the autocast context for one forward."""
        return autocast(self.precision, device.type)


FP32 = Arithmetic()
"""Full precision; the rules of the device decide the rest."""


@contextmanager
def fixed_kernels(device: torch.device) -> Iterator[None]:
    """Keep the choice of kernels fixed inside this context, and restore all settings at its end.

    TF32, cuDNN's benchmark mode and any surrounding autocast are switched off. Benchmark mode times several kernels and
    takes the fastest, so another process might take another one.

    The disabled autocast context stays open for the whole run, because autocast frees its copies of the weights when
    the outermost context ends. So the contexts of the single forwards inside share one copy.
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
