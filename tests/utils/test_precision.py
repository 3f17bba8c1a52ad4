from typing import get_args

import pytest
import torch

from dmaelab.utils.precision import PRECISIONS, Precision, autocast


@pytest.mark.parametrize(
    ("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_a_product_is_computed_in_the_precision_of_its_name(precision, dtype):
    layer = torch.nn.Linear(4, 4)
    with autocast(precision, "cpu"):
        assert layer(torch.ones(1, 4)).dtype == dtype
    assert layer(torch.ones(1, 4)).dtype == torch.float32


def test_auto_is_no_precision_of_a_forward():
    assert set(get_args(Precision)) == {"auto", *PRECISIONS}
    with pytest.raises(KeyError):
        autocast("auto", "cpu")
