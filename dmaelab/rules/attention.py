"""Which attention kernel: SDPA, but plain products where a CPU trains."""


def attention_rule(device_type: str, training: bool) -> str:
    """Return the faster attention, ``"sdpa"`` or ``"matmul"``, for a device that trains or only evaluates.

    CPU: in a forward alone SDPA is up to 1.3 times as fast, and 0.95 times at worst (ViT-B in bf16); with a backward it is even in
    fp32, and in bf16 it makes small models 1.5 to 3.5 times slower. CUDA: its fused kernels do not write the attention matrix to
    memory; not measured yet. Measured by ``python -m benchmarks.attention``.
    """
    return "matmul" if device_type == "cpu" and training else "sdpa"
