import pytest
import torch

from dmaelab.modeling import Classifier, MAEDecoder, ViT
from dmaelab.modeling.layers import MLP, Block, DropPath, PatchEmbed
from dmaelab.modeling.patches import patchify
from dmaelab.utils.random import Draw

WIDTH = 96


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return ViT(WIDTH, 3, 3, image_size=32, patch_size=4, pool=None)


def is_uniform_within(weight, bound):
    return (
        weight.abs().max() <= bound
        and weight.abs().max() > 0.99 * bound
        and abs(weight.std() / (bound / 3**0.5) - 1) < 0.03
    )


def test_linear_layers_start_xavier_uniform(encoder):
    """The fused qkv projection counts as one [3D, D] matrix, hence sqrt(6 / 4D)."""
    block = encoder.blocks[1]
    assert is_uniform_within(block.attn.qkv.weight, (6 / (4 * WIDTH)) ** 0.5)
    assert is_uniform_within(block.attn.proj.weight, (6 / (2 * WIDTH)) ** 0.5)
    assert is_uniform_within(block.mlp.fc1.weight, (6 / (5 * WIDTH)) ** 0.5)
    assert is_uniform_within(block.mlp.fc2.weight, (6 / (5 * WIDTH)) ** 0.5)


def test_the_patch_projection_starts_as_a_linear_layer(encoder):
    assert is_uniform_within(encoder.patch_embed.proj.weight, (6 / (48 + WIDTH)) ** 0.5)
    bias = encoder.patch_embed.proj.bias
    assert bias.abs().max() <= 48**-0.5  # the convolution's own default
    assert bias.std() > 0.4 * 48**-0.5


def test_norms_biases_and_tokens(encoder):
    torch.manual_seed(1)
    decoder = MAEDecoder(encoder, 512, 1, 4)
    for module in (encoder, decoder):
        for name, parameter in module.named_parameters():
            if "norm" in name:
                assert torch.equal(parameter, torch.full_like(parameter, float(name.endswith("weight")))), name
            elif name.endswith("bias") and "patch_embed" not in name:
                assert torch.equal(parameter, torch.zeros_like(parameter)), name
    assert abs(decoder.mask_token.std() / 0.02 - 1) < 0.15
    assert abs(encoder.cls_token.std() / 0.02 - 1) < 0.3
    assert is_uniform_within(decoder.pred.weight, (6 / (512 + 48)) ** 0.5)


def test_the_head_starts_undecided():
    torch.manual_seed(0)
    classifier = Classifier(ViT(WIDTH, 1, 3, image_size=32, patch_size=4), 100, [0.5] * 3, [0.25] * 3)
    assert abs(classifier.head.weight.std() / 2e-5 - 1) < 0.05
    assert torch.equal(classifier.head.bias, torch.zeros(100))


def test_patch_embedding_is_linear_in_the_patches():
    embed = PatchEmbed(4, 3, WIDTH)
    images = Draw(0, "data").normal((2, 3, 12, 12))
    weight = embed.proj.weight.permute(0, 2, 3, 1).reshape(WIDTH, -1)  # to the (row, column, channel) order of patches
    torch.testing.assert_close(embed(images), patchify(images, 4) @ weight.T + embed.proj.bias, atol=1e-5, rtol=1e-5)


def test_the_mlp_uses_the_exact_gelu():
    mlp = MLP(8, 16)
    tokens = Draw(0, "data").normal((2, 3, 8))
    hidden = mlp.fc1(tokens)
    exact = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    torch.testing.assert_close(mlp(tokens), mlp.fc2(exact), atol=1e-6, rtol=1e-5)


def test_a_block_is_pre_norm_with_two_residuals():
    torch.manual_seed(0)
    block = Block(24, 3, 2.0)
    tokens = Draw(0, "data").normal((2, 5, 24))
    middle = tokens + block.attn(block.norm1(tokens))
    torch.testing.assert_close(block(tokens), middle + block.mlp(block.norm2(middle)))
    assert block.norm1.eps == block.norm2.eps == 1e-6
    assert block.mlp.fc1.out_features == 48


def test_drop_path_drops_whole_images_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = DropPath(0.25)
    rows = drop(torch.ones(4000, 3, 2))
    assert torch.equal(rows, rows[:, :1, :1].expand(-1, 3, 2))
    assert rows.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert abs(rows.mean() - 1) < 4 * (0.25 / 0.75 / 4000) ** 0.5


def test_drop_path_is_the_identity_in_evaluation_and_at_rate_zero():
    tokens = torch.ones(5, 2)
    assert DropPath(0.5).eval()(tokens) is tokens
    assert DropPath(0.0).train()(tokens) is tokens


def test_drop_path_rises_linearly_over_the_blocks():
    rates = [block.drop_path.rate for block in ViT(24, 5, 3, image_size=8, patch_size=4, drop_path=0.2).blocks]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    assert [block.drop_path.rate for block in ViT(24, 1, 3, image_size=8, patch_size=4, drop_path=0.2).blocks] == [0.0]
