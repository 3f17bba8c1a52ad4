"""Whether certification stores images and convolution weights in channels-last memory format."""


def channels_last_rule(device_type: str) -> bool:
    """Return whether certification uses channels-last memory by default: False on CPU and CUDA.

    CPU: it makes ResNets 3 to 27 % faster and ViTs not at all, and most certified networks here are ViTs. CUDA: not
    measured yet. Measured by ``python -m benchmarks.evaluation``.
    """
    return False
