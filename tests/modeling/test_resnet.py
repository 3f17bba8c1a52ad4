import pytest
import torch

from dmaelab.modeling import CifarResNet
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.random import Draw


@pytest.mark.parametrize(("depth", "numbers"), [(20, 269_722), (56, 853_018), (110, 1_727_962)])
def test_numbers_of_parameters(depth, numbers):
    """With ten classes: .27 M, .85 M and 1.7 M (He et al., 2016, Table 6; no weights in shortcuts)."""
    with torch.device("meta"):
        backbone = CifarResNet(depth)
    assert backbone.num_features == 64
    assert sum(p.numel() for p in backbone.parameters()) + 64 * 10 + 10 == numbers
    assert len([p for p in backbone.parameters() if p.ndim == 4]) == depth - 1


def test_any_size_of_image():
    backbone = CifarResNet(8, in_channels=1, width=4).eval()
    for side in (8, 28, 33):
        assert backbone(Draw(0, "data").normal((2, 1, side, side))).shape == (2, 16)


def test_stages_halve_the_image():
    backbone = CifarResNet(8, width=4)
    x = backbone.conv1(torch.zeros(1, 3, 32, 32))
    shapes = [x.shape[1:]]
    for block in backbone.blocks:
        x = block(x)
        shapes.append(x.shape[1:])
    assert [tuple(shape) for shape in shapes] == [(4, 32, 32), (4, 32, 32), (8, 16, 16), (16, 8, 8)]


def test_the_shortcut_subsamples_and_pads():
    block = CifarResNet(8, width=4).blocks[1].eval()
    torch.nn.init.zeros_(block.bn2.weight)
    x = Draw(0, "data").uniform((2, 4, 6, 6))
    expected = torch.cat([x[:, :, ::2, ::2], torch.zeros(2, 4, 3, 3)], dim=1)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("depth", [2, 18, 34])
def test_bad_depth(depth):
    with pytest.raises(ConfigError, match=f"depth {depth} is not 6n"):
        CifarResNet(depth)
