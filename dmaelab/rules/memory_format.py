"""Whether images and convolution weights lie channels-last in certification."""


def channels_last_rule(device_type: str) -> bool:
    """Return whether a forward is faster in channels-last memory: no, on either device.

    CPU: it gives ViTs nothing and ResNets 3 to 27 %, and most certified networks here are ViTs. CUDA: not measured yet.
    Measured by ``python -m benchmarks.evaluation``.
    """
    return False
