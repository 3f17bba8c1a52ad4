import pytest
import torch

from dmaelab.rules.residual_stream import residual_dtype

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


@pytest.mark.parametrize(
    ("tokens", "positions", "expected"), [(F32, F32, F32), (F16, F32, F32), (BF16, F32, BF16), (BF16, BF16, BF16)]
)
def test_the_stream_is_narrow_for_bf16_only(tokens, positions, expected):
    assert residual_dtype(tokens, positions) == expected
