import pytest
import torch

from dmaelab.attacks import BALL_NORMS, Balls
from dmaelab.attacks.balls import project_l1, project_l2
from dmaelab.utils.errors import UserError


def test_rounding_is_towards_the_original():
    images = torch.tensor([0.0, 10.0, 100.0, 255.0]).view(1, 1, 2, 2) / 255
    balls = Balls(images, torch.tensor([9.0], dtype=torch.float64), "l2", steps=255)
    steps = torch.tensor([[2.99, -2.99, 7.0001, -0.5]], dtype=torch.float64)
    assert (255 * balls.images(steps / 255)).round().flatten().tolist() == [2, 8, 107, 255]


def test_projections():
    generator = torch.Generator().manual_seed(0)
    offsets = torch.randn(5, 40, generator=generator, dtype=torch.float64)
    limits = torch.tensor([[1e-3], [1.0], [5.0], [30.0], [1e3]], dtype=torch.float64)
    l1, l2 = project_l1(offsets, limits), project_l2(offsets, limits)
    assert torch.allclose(l1.abs().sum(1), torch.minimum(limits.flatten(), offsets.abs().sum(1)))
    assert torch.allclose(l2.norm(dim=1), torch.minimum(limits.flatten(), offsets.norm(dim=1)))
    assert torch.equal(l1[4], offsets[4])
    assert torch.equal(l2[4], offsets[4])
    for _ in range(200):  # the nearest point makes no acute angle with any other of the ball
        other = torch.randn(5, 40, generator=generator, dtype=torch.float64)
        other = other / other.abs().sum(1, keepdim=True) * limits
        assert (((offsets - l1) * (other - l1)).sum(1) <= 1e-9).all()
    assert torch.equal(
        project_l1(torch.zeros(1, 3, dtype=torch.float64), limits[:1]), torch.zeros(1, 3, dtype=torch.float64)
    )


@pytest.mark.parametrize("norm", BALL_NORMS)
def test_each_row_has_its_own_ball(norm):
    generator = torch.Generator().manual_seed(0)
    radii = torch.tensor([1e-3, 0.1, 2.0], dtype=torch.float64)
    balls = Balls(torch.full((3, 1, 4, 4), 0.5), radii, norm)
    directions = torch.randn(3, 16, generator=generator, dtype=torch.float64)
    offsets = balls.at(0.5 * directions / balls.length(directions).unsqueeze(1))
    assert torch.allclose(balls.length(offsets)[:2], 0.5 * radii[:2])
    found = balls.images(balls.climb(offsets, directions, 10.0))  # far beyond the ball
    distances = balls.distances(found)
    assert found.dtype == torch.float32
    assert (distances > 0.99 * radii)[:2].all()  # the third is larger than the cube of all images
    assert (distances < radii).all()
    assert 0 <= found.min() <= found.max() <= 1


def test_another_norm_is_refused():
    with pytest.raises(UserError, match="cannot search balls in linf: it knows l2 and l1"):
        Balls(torch.zeros(1, 1, 2, 2), torch.ones(1, dtype=torch.float64), "linf")
