import pytest
import torch

from dmaelab.corruptions import CORRUPTIONS, Corruption, Gaussian
from dmaelab.smoothing.noise import Address, NoisyImage, chunk_size, chunks_at_once, smoothing_noise
from dmaelab.utils.errors import UserError

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("numel", "size"),
    [
        (3 * 224 * 224, 4),
        (3 * 32 * 32, 256),
        (64, 256),
        (4096, 256),
        (4097, 128),
        (2**20, 1),
        (2**20 + 1, 1),
        (2**19, 2),
    ],
)
def test_chunk_size_is_the_largest_power_of_two(numel, size):
    assert chunk_size(numel) == size


class Counting(Gaussian):
    """Counts its calls."""

    def __init__(self, sigma):
        super().__init__(sigma)
        self.keys = []

    def apply(self, images, sigma, draw):
        self.keys.append(draw.key)
        return super().apply(images, sigma, draw)


def stream(noise, name, total, step):
    pieces, start = [], 0
    while start < total:
        pieces.append(noise.samples(name, start, min(step, total - start)).clone())
        start += len(pieces[-1])
    return torch.cat(pieces)


def test_samples_do_not_depend_on_how_they_are_asked_for():
    image = torch.rand(1, 4, 4)
    whole = stream(NoisyImage(image, Gaussian(0.5), Address(3, "certify", 7), CPU), "estimation", 700, 1000)
    for step in (1, 37, 256):
        corruption = Counting(0.5)
        pieces = stream(NoisyImage(image, corruption, Address(3, "certify", 7), CPU), "estimation", 700, step)
        assert torch.equal(pieces, whole)
        assert corruption.keys == [(3, "certify", "estimation", 7, chunk) for chunk in range(3)]  # each chunk made once


@pytest.mark.parametrize(
    ("numel", "stackable", "device", "chunks"),
    [(3072, True, "cuda", 21), (3 * 224 * 224, True, "cuda", 27), (3072, False, "cuda", 1), (3072, True, "cpu", 1)],
)
def test_several_chunks_are_made_at_once_on_a_gpu_if_the_corruption_allows_it(numel, stackable, device, chunks):
    assert chunks_at_once(numel, stackable, device) == chunks


@pytest.mark.parametrize("name", CORRUPTIONS.names())
@pytest.mark.parametrize("step", [100, 600])
def test_several_chunks_at_once_are_those_one_by_one(name, step):
    """As on a GPU, where fewer kernels are launched for them."""

    def noise(most):
        corruption = CORRUPTIONS.build(name, sigma=0.5)
        made = NoisyImage(torch.arange(32).view(2, 4, 4) / 255, corruption, Address(3, "certify", 7), CPU)
        made._most = most
        return made

    torch.testing.assert_close(stream(noise(2), "estimation", 900, step), stream(noise(1), "estimation", 900, step))


def test_every_part_of_the_address_changes_the_noise():
    image = torch.full((1, 2, 2), 0.5)
    seen = [
        stream(NoisyImage(image, Gaussian(0.5), address, CPU), name, 512, 512)
        for address in (
            Address(0, "certify", 1),
            Address(1, "certify", 1),
            Address(0, "certify", 2),
            Address(0, "call", 1),
        )
        for name in ("selection", "estimation")
    ]
    numbers = torch.cat(seen).flatten()
    assert len(numbers.unique()) > 0.99 * len(numbers)
    assert numbers.mean() == pytest.approx(0.5, abs=0.02)
    assert numbers.std() == pytest.approx(0.5, abs=0.02)


def test_a_certifiers_random_numbers_repeat_by_name():
    address = Address(0, "certify", 1)
    assert address.random("v").random() == address.random("v").random() != address.random("w").random()


def test_corruptions_that_certify_nothing_are_refused():
    with pytest.raises(UserError, match="no geometry"):
        smoothing_noise(Corruption(0.5))
    with pytest.raises(UserError, match="range"):
        smoothing_noise(Gaussian((0.1, 0.5)))
    with pytest.raises(UserError, match="sigma is 0"):
        smoothing_noise(Gaussian(0.0))
    geometry, sigma = smoothing_noise(Gaussian(0.5))
    assert (geometry.norm, sigma) == ("l2", 0.5)


def test_a_class_with_its_own_noise_does_not_inherit_that_its_draws_can_be_stacked():
    class Renamed(Gaussian):
        pass

    class OfOtherShape(Gaussian):
        def apply(self, images, sigma, draw):
            return images + draw.normal((3,)).mean()

    class SaysSo(OfOtherShape):
        stackable = True

    class Mixed(type("Mixin", (), {"apply": OfOtherShape.apply}), Gaussian):
        pass

    kinds = (Gaussian, Renamed, OfOtherShape, SaysSo, Mixed)
    assert [kind.stackable for kind in kinds] == [True, True, False, True, False]
