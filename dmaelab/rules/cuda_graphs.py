"""Whether certification records its forward once as a CUDA graph and replays it."""


def cuda_graph_rule(device_type: str) -> bool:
    """Return whether certification replays its forward pass from a CUDA graph by default: False.

    It is off because it has not been measured yet. A graph saves the host from launching some 200 kernels per batch,
    which can limit the speed of a small network. ``certify.cuda_graph=True`` switches it on. Measured by
    ``python -m benchmarks.gpu --phases certification``.
    """
    return False
