import numpy as np
import pytest
import torch

from dmaelab.data import Batch, Samples, make_batch, to_device, to_float
from dmaelab.utils.random import Draw


def test_make_batch_divides_by_255():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8).view(3, 1, 1, 1)
    draw = Draw(0, "train", 0, 0)
    batch = make_batch(Samples(images, torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6])), "cpu", draw, 0.5)
    assert isinstance(batch, Batch)
    assert batch.images.dtype == torch.float32
    assert batch.images.flatten().tolist() == [0.0, pytest.approx(0.2), 1.0]
    assert (batch.targets.tolist(), batch.index.tolist(), batch.draw, batch.progress) == (
        [1, 2, 3],
        [4, 5, 6],
        draw,
        0.5,
    )
    floats = make_batch(Samples(images.double() / 255, torch.zeros(3), torch.zeros(3)), "cpu", draw, 0.0).images
    assert torch.equal(floats, batch.images)


def test_floating_point_images_are_only_converted():
    doubles = torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64)
    assert to_float(doubles).dtype == torch.float32
    assert to_float(doubles).tolist() == [0.0, 0.25, 1.0]
    bytes_ = torch.tensor([255], dtype=torch.uint8)
    assert to_float(bytes_).item() == 1.0
    assert bytes_.item() == 255  # the images of a data set are not changed


def test_an_array_becomes_a_tensor_of_its_dtype():
    tensor = to_device(np.array([True, False]), "cpu")
    assert (tensor.dtype, tensor.tolist()) == (torch.bool, [True, False])
