import pytest
import torch

from dmaelab.modeling.pos_embed import sincos_2d


def test_check_values():
    table = sincos_2d(768, 14)
    assert table.shape == (1, 197, 768)
    assert table.dtype == torch.float32
    torch.testing.assert_close(
        table[0, 2, :3], torch.tensor([0.841471, 0.815251, 0.788593]), atol=1e-6, rtol=0
    )  # row 0, col 1


@pytest.mark.parametrize(("width", "total"), [(768, 75_264), (1024, 100_352), (512, 50_176)])
def test_each_pair_of_sine_and_cosine_counts_one(width, total):
    table = sincos_2d(width, 14).double()
    assert abs(table.square().sum() - total) < 1e-2
    torch.testing.assert_close(
        table[0, 1:].square().sum(dim=1), torch.full((196,), width / 2).double(), atol=1e-4, rtol=0
    )


def test_the_class_token_has_no_position():
    assert torch.equal(sincos_2d(64, 5)[0, 0], torch.zeros(64))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_prefix_tokens_have_no_position(count):
    table = sincos_2d(64, 5, num_prefix_tokens=count)
    assert table.shape == (1, count + 25, 64)
    assert not table[0, :count].any()
    assert torch.equal(table[0, count:], sincos_2d(64, 5)[0, 1:])


def test_every_entry_follows_the_formula():
    """[sin(col w), cos(col w), sin(row w), cos(row w)]: the column, not the row, comes first."""
    width, grid, quarter = 16, 3, 4
    table = sincos_2d(width, grid)[0, 1:].double()
    frequencies = torch.tensor([10000 ** (-k / quarter) for k in range(quarter)], dtype=torch.float64)
    for row in range(grid):
        for col in range(grid):
            across, down = col * frequencies, row * frequencies
            expected = torch.cat([across.sin(), across.cos(), down.sin(), down.cos()])
            torch.testing.assert_close(table[row * grid + col], expected, atol=1e-7, rtol=0)


def test_width_must_hold_four_parts():
    with pytest.raises(ValueError, match="divisible by 4, got 30"):
        sincos_2d(30, 2)
