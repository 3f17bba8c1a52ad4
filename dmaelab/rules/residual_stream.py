"""The dtype of a transformer's residual stream under autocast."""

import torch


def residual_dtype(tokens: torch.dtype, positions: torch.dtype) -> torch.dtype:
    """Return the dtype of the sum of ``tokens`` and ``positions``: bf16 for bf16 tokens, else the wider of the two.

    bf16 halves the memory traffic: on a CPU with AMX the forward pass of the digits encoder took 1.2 to 1.3 times as
    long with an fp32 stream. The sum of fp16 tokens and fp32 positions is fp32, as in the reference, because an fp16
    stream would lose precision when the outputs of all blocks are added to it. CUDA: not measured yet. Measured by
    ``python -m benchmarks.residual_stream``.
    """
    return tokens if tokens == torch.bfloat16 else torch.promote_types(tokens, positions)
