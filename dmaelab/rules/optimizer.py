"""Whether the optimizer uses its fused kernel."""


def fused_rule(device_type: str) -> bool:
    """Return whether AdamW uses its fused kernel, which makes one pass over the parameters: True on CPU and CUDA.

    CPU: without it a training step of ViT-B took 1.1 to 1.3 times as long. CUDA: not measured yet. Measured by
    ``python -m benchmarks.training --variants``.
    """
    return True
