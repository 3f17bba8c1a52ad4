"""In which type the residual stream of a transformer runs under autocast."""

import torch


def residual_dtype(tokens: torch.dtype, positions: torch.dtype) -> torch.dtype:
    """Return the type of the stream where ``tokens`` and ``positions`` are added: bf16 for bf16 tokens, else the wider
    of the two.

    bf16 halves the bytes of what is bound by memory: on a CPU with AMX the forward of the digits encoder took 1.2 to
    1.3 times as long with an fp32 stream. fp16 tokens meet fp32 positions in fp32, as in the reference: a stream that
    is summed over all blocks would lose their digits. CUDA: not measured yet. Measured by ``python -m
    benchmarks.residual_stream``.
    """
    return tokens if tokens == torch.bfloat16 else torch.promote_types(tokens, positions)
