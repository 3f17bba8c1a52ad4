import pytest
import torch
from torch import nn

from dmaelab.modeling import ViT
from dmaelab.modeling.attention import Attention
from dmaelab.rules.attention import attention_of, attention_rule
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.random import Draw


def test_the_rule():
    assert attention_rule("cpu", training=True) == "matmul"
    assert (
        attention_rule("cpu", training=False) == attention_rule("cuda", True) == attention_rule("cuda", False) == "sdpa"
    )


@pytest.mark.parametrize("kernel", ["sdpa", "matmul", "auto"])
def test_equals_torchs_own_module(kernel):
    own, theirs = Attention(24, 3, kernel), nn.MultiheadAttention(24, 3, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": own.qkv.weight,
            "in_proj_bias": own.qkv.bias,
            "out_proj.weight": own.proj.weight,
            "out_proj.bias": own.proj.bias,
        }
    )
    tokens = Draw(0, "data").normal((2, 7, 24)) * 3
    torch.testing.assert_close(own(tokens), theirs(tokens, tokens, tokens)[0], atol=1e-5, rtol=1e-5)


def test_kernels_have_the_same_gradients():
    tokens = Draw(0, "data").normal((2, 7, 24))
    module, grads = Attention(24, 3), []
    for kernel in ("sdpa", "matmul"):
        module.attention = kernel
        module.zero_grad()
        module(tokens).square().sum().backward()
        grads.append(module.qkv.weight.grad)
    torch.testing.assert_close(*grads, atol=1e-4, rtol=1e-4)


def test_bad_options():
    with pytest.raises(ConfigError, match="width 30 is not divisible by num_heads 4"):
        Attention(30, 4)
    with pytest.raises(ConfigError, match="attention is 'flash': choose"):
        Attention(24, 3, "flash")


def test_a_network_says_which_attention_it_evaluates_with():
    network = ViT(16, 1, 2, image_size=8, patch_size=4, attention="auto")
    assert attention_of(network, "cpu") == {"attention": attention_rule("cpu", training=False)}
    network.blocks[0].attn.attention = "matmul"
    assert attention_of(network, "cpu") == {"attention": "matmul+sdpa"}
    other = nn.Linear(2, 2)
    other.attention = ["not", "ours"]
    assert attention_of(other, "cpu") == {}
