"""Which attention kernel: SDPA, but plain products where a CPU trains."""

from typing import Any


def attention_rule(device_type: str, training: bool) -> str:
    """Return the faster attention, ``"sdpa"`` or ``"matmul"``, for a device that trains or only evaluates.

    CPU: in a forward alone SDPA is up to 1.3 times as fast, and 0.95 times at worst (ViT-B in bf16); with a backward
    it is even in fp32, and in bf16 it makes small models 1.5 to 3.5 times slower. CUDA: its fused kernels do not
    write the attention matrix to memory; not measured yet. Measured by ``python -m benchmarks.attention``.
    """
    return "matmul" if device_type == "cpu" and training else "sdpa"


def attention_of(network: Any, device_type: str) -> dict[str, str]:
    """Return ``{"attention": kernel}`` of a network that evaluates on a device; nothing where it has no attention of
    ours.
    """
    asked = [getattr(module, "attention", None) for module in network.modules()]
    known = {kernel for kernel in asked if isinstance(kernel, str) and kernel in ("auto", "sdpa", "matmul")}
    kernels = {attention_rule(device_type, training=False) if kernel == "auto" else kernel for kernel in known}
    return {"attention": "+".join(sorted(kernels))} if kernels else {}
