"""The choice of the attention kernel: plain matrix products for training on a CPU, SDPA otherwise."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def attention_rule(device_type: str, training: bool) -> str:
    """Return the faster attention kernel, ``"sdpa"`` or ``"matmul"``, for a device in training or in evaluation.

    CPU: in a forward pass without backward, SDPA is up to 1.3 times as fast, and 0.95 times at worst (ViT-B in bf16).
    With a backward pass it is equally fast in fp32, and in bf16 it makes small models 1.5 to 3.5 times slower. CUDA:
    the fused kernels of SDPA do not write the attention matrix to memory; not measured yet. Measured by
    ``python -m benchmarks.attention``.
    """
    return "matmul" if device_type == "cpu" and training else "sdpa"


def attention_of(network: "nn.Module", device_type: str) -> dict[str, str]:
    """Return ``{"attention": kernel}``, the kernel that a network uses in evaluation on a device.

    Different kernels in one network are joined by "+". The dict is empty if no module of the network has an attribute
    ``attention`` with the name of a kernel.
    """
    asked = [getattr(module, "attention", None) for module in network.modules()]
    known = {kernel for kernel in asked if isinstance(kernel, str) and kernel in ("auto", "sdpa", "matmul")}
    kernels = {attention_rule(device_type, training=False) if kernel == "auto" else kernel for kernel in known}
    return {"attention": "+".join(sorted(kernels))} if kernels else {}
