from torch import nn

from dmaelab.modeling import ViT
from dmaelab.rules.attention import attention_of, attention_rule


def test_the_rule():
    assert attention_rule("cpu", training=True) == "matmul"
    assert (
        attention_rule("cpu", training=False) == attention_rule("cuda", True) == attention_rule("cuda", False) == "sdpa"
    )


def test_a_network_says_which_attention_it_evaluates_with():
    network = ViT(16, 1, 2, image_size=8, patch_size=4, attention="auto")
    assert attention_of(network, "cpu") == {"attention": attention_rule("cpu", training=False)}
    network.blocks[0].attn.attention = "matmul"
    assert attention_of(network, "cpu") == {"attention": "matmul+sdpa"}
    other = nn.Linear(2, 2)
    other.attention = ["not", "ours"]
    assert attention_of(other, "cpu") == {}
