"""Certification on a device: rows depend on nothing but the identity, and counts are those of exact arithmetic."""

import copy
import random

import pytest
import torch

from dmaelab.certifiers import Certificate, Certifier, Sequential, Votes
from dmaelab.corruptions import Gaussian, build_corruption
from dmaelab.smoothing import Smoothing, certify_images
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.smoothing.noise import Address, NoisyImage
from dmaelab.smoothing.votes import Flight, VotePool

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
pytestmark = pytest.mark.parametrize("device", DEVICES, indirect=True)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_rows_depend_on_nothing_but_the_identity(device, classifier, pictures, tmp_path, precision):
    """Not on shards, on the order of the images, or on how many are in flight."""
    arithmetic = Arithmetic(precision, compile=False, cuda_graph=False)
    smoothing = Smoothing(classifier("vit"), Gaussian(0.25), 4, arithmetic=arithmetic, batch_size=128)

    def certify(out, indices, shard=(0, 1)):
        certifier = Sequential(20, 1000, 0.001)
        rows = certify_images(smoothing, pictures, indices, certifier, out=tmp_path / out, shard=shard, progress=False)
        return {row["idx"]: repr({name: value for name, value in row.items() if name != "time"}) for row in rows}

    shuffled = list(range(12))
    random.Random(0).shuffle(shuffled)
    whole = certify("whole", range(12))
    assert len(set(whole.values())) == 12
    assert certify("shards", range(12), (0, 2)) | certify("shards", range(12), (1, 2)) == whole
    assert certify("shuffled", shuffled) == whole
    for index in (0, 7):  # alone in flight, its last batch padded
        assert certify(f"alone{index}", [index]) == {index: whole[index]}


class Tally(Certifier):
    """Keeps the counts of n samples."""

    def certify(self, case):
        counts = yield Votes("estimation", self.n)
        return Certificate(prediction=0, top=0, n=self.n, extra={"counts": torch.from_numpy(counts)})


def test_counts_are_those_of_exact_arithmetic(device, classifier, pictures):
    """The same samples by address, classified in float64; only near ties may be counted elsewhere."""
    model, corruption, certifier = classifier("vit"), Gaussian(0.25), Tally(1000, 0.001)
    exact, found = copy.deepcopy(model).double(), {}
    addresses = {index: Address(3, "certify", index) for index in range(4)}
    arithmetic = Arithmetic(compile=False, cuda_graph=False)
    smoothing = Smoothing(model, corruption, 4, arithmetic=arithmetic, batch_size=128)
    pool = VotePool(smoothing, (3, 8, 8))
    flights = (Flight(smoothing, certifier, address, *pictures(i)) for i, address in addresses.items())
    pool.run(flights, lambda flight, certificate: found.update({flight.index: certificate.extra["counts"]}))
    for index, address in addresses.items():
        samples = drawn(NoisyImage(pictures(index)[0], corruption, address, device), [0], 1000)
        with torch.no_grad():
            logits = exact(samples.double()).cpu()
        best = logits.topk(2, dim=1).values
        near = best[:, 0] - best[:, 1] < 1e-4 * best.abs().amax(1)
        assert near.sum() <= 10
        assert found[index].sum() == 1000
        assert (found[index] >= logits.argmax(1)[~near].bincount(minlength=5)).all()
    assert (sum(found.values()) > 100).sum() >= 3  # votes are divided


def drawn(noise, starts, limit):
    """Return the samples ``start, ..., start + limit - 1`` for each start, in that order."""
    rows = []
    for start in starts:
        stop = start + limit
        while start < stop:
            rows.append(noise.samples("estimation", start, stop - start).clone())
            start += len(rows[-1])
    return torch.cat(rows)


@pytest.mark.parametrize("name", ["gaussian", "uniform", "laplace", "quantised_gaussian"])
def test_noise_is_a_function_of_its_address(device, name):
    """Samples depend neither on how many are asked for at once, nor on what was drawn before."""
    corruption = build_corruption(name, sigma=0.25)
    image = torch.randint(256, (3, 32, 32), generator=torch.Generator().manual_seed(0)) / 255

    def noise(index=5):
        return NoisyImage(image, corruption, Address(1, "certify", index), device)

    whole = drawn(noise(), [0], 600)
    assert whole.device == device
    assert abs((whole - image.to(device)).std() / 0.25 - 1) < 0.01
    for limit in (1, 100, 300):
        assert torch.equal(drawn(noise(), range(0, 600, limit), limit), whole)
    backwards, other = noise(), noise(6)
    for start in (599, 300, 256, 255, 0):
        torch.manual_seed(start)
        torch.randn(7, device=device)
        assert not torch.equal(drawn(other, [start], 1), whole[start : start + 1])
        assert torch.equal(drawn(backwards, [start], 1), whole[start : start + 1])
