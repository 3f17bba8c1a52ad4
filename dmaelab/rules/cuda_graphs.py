"""Whether certification records its forward once as a CUDA graph and replays it."""


def cuda_graph_rule(device_type: str) -> bool:
    """Return whether the forward of certification is replayed from a CUDA graph by default: no, until it has been
    measured.

    A graph saves the host's work of launching some 200 kernels a batch, which a small network may wait for. It can be
    asked for with ``certify.cuda_graph=True``. Measured by ``python -m benchmarks.gpu --phases certification``.
    """
    return False
