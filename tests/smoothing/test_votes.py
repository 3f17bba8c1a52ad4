import weakref

import numpy as np
import pytest
import torch
from torch import nn

from dmaelab.certifiers import Certificate, Certifier, Cohen, Votes
from dmaelab.corruptions import Gaussian
from dmaelab.smoothing import Smoothing
from dmaelab.smoothing.arithmetic import Arithmetic
from dmaelab.smoothing.noise import Address
from dmaelab.smoothing.smoothing import check_logits
from dmaelab.smoothing.votes import Flight, VotePool
from dmaelab.utils.errors import UserError


class Totals(Certifier):
    """Asks for growing totals and keeps the answers."""

    def __init__(self, *totals, stream="estimation"):
        super().__init__(1000, 0.05)
        self.totals, self.stream = totals, stream

    def certify(self, case):
        answers = []
        for total in self.totals:
            counts = yield Votes(self.stream, total)
            answers.append(counts)
        return Certificate(prediction=0, top=0, n=self.totals[-1] if self.totals else 0, extra={"answers": answers})


def fly(
    classifier, certifiers, batch_size, num_classes=3, deliver=None, precision="fp32", value=0.5, on_invalid="stop"
):
    """Certify one 4x4 image per certifier and return the certificates by index."""
    arithmetic = Arithmetic(precision)
    smoothing = Smoothing(
        classifier, Gaussian(0.25), num_classes, arithmetic=arithmetic, batch_size=batch_size, on_invalid=on_invalid
    )
    pool, results = VotePool(smoothing, (1, 4, 4)), {}

    def flights():
        for index, certifier in enumerate(certifiers):
            yield Flight(smoothing, certifier, Address(0, "certify", index), torch.full((1, 4, 4), value), None)

    def keep(flight, certificate):
        results[flight.index] = certificate

    pool.run(flights(), deliver or keep)
    return results


class Recorder(nn.Module):
    """Remembers the shapes of its batches."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.shapes = inner, []

    def forward(self, images):
        self.shapes.append(tuple(images.shape))
        return self.inner(images)


def test_counts_do_not_depend_on_the_batch(brightness):
    wanted = [Totals(10, 50, 300, 300, 777), Totals(100), Totals(1), Totals(256, 512)]
    reference = fly(brightness, wanted, 1024)
    for index, certifier in enumerate(wanted):
        for total, counts in zip(certifier.totals, reference[index].extra["answers"], strict=True):
            assert counts.dtype == np.int64
            assert counts.sum() == total
    for batch_size in (1, 7, 64, 256):
        others = fly(brightness, wanted, batch_size)
        for index in range(len(wanted)):
            np.testing.assert_array_equal(others[index].extra["answers"], reference[index].extra["answers"])


def test_growing_totals_see_a_prefix(brightness):
    steps, once = fly(brightness, [Totals(10, 50, 300)], 64), fly(brightness, [Totals(300)], 64)
    np.testing.assert_array_equal(steps[0].extra["answers"][-1], once[0].extra["answers"][-1])


def test_one_batch_shape_little_padding_few_in_flight(brightness):
    classifier, begun, landed, most = Recorder(brightness), [], [], 0

    class Watched(Cohen):
        def certify(self, case):
            nonlocal most
            begun.append(1)
            most = max(most, len(begun) - len(landed))
            return (yield from super().certify(case))

    certifiers = [Watched(100, 1000, 0.001) for _ in range(30)]
    fly(classifier, certifiers, 256, deliver=lambda *_: landed.append(1))
    assert len(landed) == 30
    assert set(classifier.shapes) == {(256, 1, 4, 4)}
    assert len(classifier.shapes) * 256 <= 1.02 * 30 * 1100 + 256
    assert most <= 7


def test_the_next_batch_is_queued_before_the_last_one_is_read():
    events = []

    class Model(nn.Module):
        def forward(self, images):
            events.append("forward")
            return torch.zeros(len(images), 3)

    class Reading(Certifier):
        def certify(self, case):
            yield Votes("estimation", 64)
            events.append("read")
            return Certificate(prediction=0, top=0, n=64)

    fly(Model(), [Reading(64, 0.05) for _ in range(4)], 64)
    probe = ["forward"] * 4
    assert events == probe + ["forward", "forward", "read", "forward", "read", "forward", "read", "read"]


def test_landed_images_are_let_go(brightness):
    alive, most = weakref.WeakSet(), 0
    smoothing, certifier = Smoothing(brightness, Gaussian(0.25), 3, batch_size=64), Totals(300)
    pool = VotePool(smoothing, (1, 4, 4))

    def flights():
        for index in range(40):
            flight = Flight(smoothing, certifier, Address(0, "certify", index), torch.zeros(1, 4, 4), None)
            alive.add(flight)
            yield flight

    def deliver(flight, certificate):
        nonlocal most
        most = max(most, len(alive))

    pool.run(flights(), deliver)
    assert most <= 6


def test_ties_go_to_the_lowest_class_and_non_finite_rows_to_the_last_entry(monkeypatch):
    # The answers of this model follow from the place of a row, so that their numbers are known.
    monkeypatch.setattr("dmaelab.smoothing.votes.check_rows", lambda *_: None)

    class Model(nn.Module):
        def forward(self, images):
            logits = torch.zeros(len(images), 3)
            logits[1::4, 2] = float("nan")
            logits[2::4, 1] = float("inf")
            logits[3::4, 1] = 1.0
            return logits

    counts = fly(Model(), [Totals(64)], 64, on_invalid="count")[0].extra["answers"][0]
    assert counts.tolist() == [16, 16, 0, 32]
    with pytest.raises(
        UserError, match=r"image 0: 32 of 64 outputs of the classifier are not finite .* go on with on_invalid='count'"
    ):
        fly(Model(), [Totals(64)], 64)
    with pytest.raises(UserError, match=r"on_invalid is 'cuont' .did you mean 'count'"):
        fly(Model(), [Totals(64)], 64, on_invalid="cuont")


def test_padding_rows_are_not_counted(brightness):
    assert fly(brightness, [Totals(3)], 64)[0].extra["answers"][0].sum() == 3


def test_a_certifier_may_return_before_its_first_request(brightness):
    classifier = Recorder(brightness)
    results = fly(classifier, [Totals(), Totals(10), Totals()], 16)
    assert sorted(results) == [0, 1, 2]
    assert len(classifier.shapes) == 1


def test_no_samples_asked_for_is_answered_with_zeros(brightness):
    assert fly(brightness, [Totals(0, 5)], 16)[0].extra["answers"][0].tolist() == [0, 0, 0, 0]


def test_mistakes_of_plug_ins_are_named(brightness):
    class Nothing(Certifier):
        def certify(self, case):
            yield Votes("estimation", 1)

    with pytest.raises(TypeError, match="must return a Certificate"):
        fly(brightness, [Nothing(10, 0.05)], 16)
    with pytest.raises(ValueError, match="may only grow"):
        fly(brightness, [Totals(10, 5)], 16)


def test_bad_classifier_and_options_are_one_line(brightness):
    with pytest.raises(UserError, match=r"\[16, 3\] for 16 images, but num_classes=10"):
        fly(brightness, [Totals(10)], 16, num_classes=10)
    with pytest.raises(UserError, match="did you mean 'bf16'"):
        fly(brightness, [Totals(10)], 16, precision="bfl16")


def test_batch_norm_runs_in_eval_mode_and_learns_nothing():
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    ).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    small, large = fly(network, [Totals(200)] * 3, 16), fly(network, [Totals(200)] * 3, 128)
    for index in range(3):
        np.testing.assert_array_equal(small[index].extra["answers"], large[index].extra["answers"])
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not network.training


class Types(nn.Module):
    """Remembers the type of its logits and whether gradients were on."""

    def __init__(self):
        super().__init__()
        self.linear, self.seen = nn.Linear(16, 3), set()

    def forward(self, images):
        logits = self.linear(images.flatten(1))
        self.seen.add((logits.dtype, torch.is_grad_enabled()))
        return logits


def test_precision_is_what_was_asked_for_and_leaves_no_trace():
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        model = Types()
        torch.set_float32_matmul_precision("high")
        try:
            with torch.autocast("cpu", torch.bfloat16):
                fly(model, [Totals(10)], 16, precision=precision)
                assert torch.is_autocast_enabled("cpu")
            assert torch.get_float32_matmul_precision() == "high"
        finally:
            torch.set_float32_matmul_precision("highest")
        assert model.seen == {(dtype, False)}
        assert torch.is_grad_enabled()
        assert model(torch.zeros(1, 1, 4, 4)).requires_grad


@pytest.mark.parametrize(
    ("logits", "words"),
    [
        ((torch.zeros(4, 3),), "returns a tuple"),
        (torch.zeros(4, 5), r"returns \[4, 5\] for 4 images, but num_classes=3 needs \[4, 3\]"),
    ],
)
def test_logits_of_another_kind_are_named(logits, words):
    with pytest.raises(UserError, match=words):
        check_logits(logits, 4, 3)
    assert check_logits(torch.zeros(4, 3), 4, 3).shape == (4, 3)
