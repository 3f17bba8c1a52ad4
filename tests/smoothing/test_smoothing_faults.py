"""A certification or an attack that the machine ends: one line, and finished rows are kept."""

import errno
import os

import pytest
import torch
from torch import nn

from dmaelab.attacks import PGD
from dmaelab.certifiers import Cohen
from dmaelab.corruptions import Gaussian
from dmaelab.records.log import CertificationLog
from dmaelab.smoothing import SmoothedClassifier, Smoothing, certify_images
from dmaelab.smoothing.soundness import attack_certified
from dmaelab.utils.errors import MachineError

LOWER = r"lower batch_size \(certify.batch_size in a config; a log that has rows keeps its batch size"
CONTINUE = "; finished images are in the log: continue with the same command"


def allocate():
    torch.empty(1 << 60)


def out_of_gpu_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


class Hungry(nn.Module):
    """Like ``Brightness`` of the fixtures, but its memory is full from one call on, counted from 1."""

    def __init__(self, network, fail, call, gradients_only=False):
        super().__init__()
        self.network, self.fail, self.left, self.gradients_only = network, fail, call, gradients_only

    def forward(self, images):
        if images.requires_grad or not self.gradients_only:
            self.left -= 1
        if self.left <= 0:
            self.fail()
        return self.network(images)


@pytest.mark.parametrize(
    ("fail", "text"),
    [(allocate, r"^the machine is out of memory \(tried"), (out_of_gpu_memory, r"^the GPU is out of memory \(tried")],
)
@pytest.mark.parametrize("method", ["certify", "predict", "certify_dataset"])
def test_a_smoothed_classifier(brightness, images, fail, text, method):
    smoothed = SmoothedClassifier(Hungry(brightness, fail, 2), 3, 0.25)
    call = {
        "certify": lambda: smoothed.certify(images[0][0], 10, 50, 0.01, 16),
        "predict": lambda: smoothed.predict(images[0][0], 50, 0.01, 16),
        "certify_dataset": lambda: smoothed.certify_dataset(images, 10, 50, 0.01, 16),
    }[method]
    with pytest.raises(MachineError, match=rf"{text} to allocate .*\): {LOWER}") as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_batch_that_does_not_fit(brightness, images):
    with pytest.raises(MachineError, match=f"the machine is out of memory .*{LOWER}"):
        SmoothedClassifier(brightness, 3, 0.25).certify(images[0][0], 10, 50, 0.01, 1 << 50)


@pytest.fixture
def certify(brightness, images, tmp_path):
    """Return a function of a classifier that certifies the images into a log."""

    def run(classifier=brightness, out="log", load=images.__getitem__):
        smoothing = Smoothing(classifier, Gaussian(0.25), 3, batch_size=64)
        return certify_images(
            smoothing, load, range(len(images)), Cohen(20, 300, 0.001), out=tmp_path / out, progress=False
        )

    return run


def test_a_certification_keeps_its_rows_and_continues(certify, brightness, comparable, monkeypatch, tmp_path):
    Hungry.__qualname__ = type(brightness).__qualname__  # the name is part of the identity
    with pytest.raises(MachineError, match=f"^the machine is out of memory .*{CONTINUE}$"):
        certify(Hungry(brightness, allocate, 40))
    rows = len((tmp_path / "log/shard-000-of-001.tsv").read_text().splitlines()) - 1
    assert 0 < rows < 12
    assert comparable(certify()) == comparable(certify(out="whole"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_fails_during_a_certification(certify, comparable, monkeypatch, number):
    class Full:
        def __init__(self, file):
            self.file, self.left = file, 4

        def write(self, data):
            self.left -= 1
            if self.left <= 0:
                raise OSError(number, os.strerror(number))
            return self.file.write(data)

        def __getattr__(self, name):
            return getattr(self.file, name)

    opened = CertificationLog.__init__

    def opens(self, *args, **options):
        opened(self, *args, **options)
        self._file = Full(self._file)

    with monkeypatch.context() as patch:
        patch.setattr(CertificationLog, "__init__", opens)
        with pytest.raises(MachineError, match=rf"^.*shard-000-of-001\.tsv: .*{CONTINUE}$"):
            certify()
    assert comparable(certify()) == comparable(certify(out="whole"))


def test_an_image_that_is_missing_is_no_fault_of_the_machine(certify, images):
    def load(index):
        if index == 3:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", "3.png")
        return images[index]

    with pytest.raises(FileNotFoundError):
        certify(load=load)


@pytest.mark.parametrize("gradients_only", [True, False])
def test_an_attack_names_what_to_lower(brightness, images, gradients_only):
    smoothing = Smoothing(Hungry(brightness, allocate, 2, gradients_only), Gaussian(0.25), 3, batch_size=16)
    with pytest.raises(MachineError, match=r"^the machine is out of memory .*: lower certify\.batch_size, .*--samples"):
        attack_certified(smoothing, [images[0][0]], [(0, 0.1)], n=50, attack=PGD(2, 1, 8))
