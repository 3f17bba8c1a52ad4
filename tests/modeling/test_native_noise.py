"""Noise lives at the images' own size, whatever the size of the model: 32 x 32 x 3 dimensions on CIFAR-10, not 224 x
224 x 3.
"""

import torch
from torch import nn

from dmaelab.corruptions import Gaussian
from dmaelab.data import Batch
from dmaelab.losses import CR
from dmaelab.modeling import Classifier, NoisyClassifier
from dmaelab.modeling.preprocess import Preprocess
from dmaelab.smoothing import SmoothedClassifier
from dmaelab.utils.random import Draw


class Records(nn.Module):
    """A backbone that keeps what it sees."""

    num_features = 28 * 28

    def forward(self, images):
        self.seen = images
        return images.flatten(1)

    def layers(self):
        return []


def test_enlarged_noise_has_as_many_dimensions_as_the_pixels_it_was_added_to():
    backbone = Records()
    classifier = Classifier(backbone, 4, [0.5], [0.25], input_size=28)
    images = Draw(0, "data").uniform((1, 1, 4, 4)).expand(30, 1, 4, 4)
    batch = Batch(images, torch.arange(30) % 4, torch.arange(30), Draw(0, "train", 0, 0), 0.0)
    NoisyClassifier(classifier, Gaussian(0.25), CR())(batch)
    noise = (backbone.seen - classifier.preprocess(images[:1])).flatten(1)  # 60 copies of one image
    assert noise.shape == (60, 28 * 28)
    assert torch.linalg.matrix_rank(noise, rtol=1e-4) == 16
    jacobian = torch.autograd.functional.jacobian(classifier.preprocess, images[:1]).view(28 * 28, 16)
    assert torch.linalg.matrix_rank(jacobian) == 16  # and none is lost


def test_a_certified_image_keeps_its_class_within_the_radius():
    """The radius is one of native pixels: no shift d of the small image with |d| < R moves a half-space of the large
    one.
    """
    sigma, image = 0.25, 0.4 + 0.2 * Draw(0, "data").uniform((1, 4, 4))
    linear = nn.Linear(28 * 28, 2)
    model = nn.Sequential(Preprocess([0.5], [0.25], input_size=28), nn.Flatten(), linear)
    with torch.no_grad():
        linear.weight.copy_(Draw(0, "init").normal((2, 28 * 28)))

    def margin(image):
        logits = model(image[None])[0]
        return logits[1] - logits[0]

    slope = torch.autograd.functional.jacobian(margin, image)
    distance = 1.5 * sigma
    with torch.no_grad():
        linear.bias[1] += distance * slope.norm() - margin(image)

    smoothed = SmoothedClassifier(model, 2, sigma)
    prediction, radius = smoothed.certify(image, 100, 10_000, 0.001, 1000, index=0)
    assert prediction == 1
    assert 0.95 * distance < radius < distance
    towards = -slope / slope.norm()  # the boundary: nothing of this length does more
    others = Draw(1, "data").normal((4, 1, 4, 4))
    shifts = [0.9 * radius * d / d.norm() for d in (towards, *others)]
    assert [smoothed.predict(image + shift, 2000, 0.001, 1000, index=i) for i, shift in enumerate(shifts)] == [1] * 5
    assert smoothed.predict(image + 1.1 * distance * towards, 2000, 0.001, 1000, index=9) == 0
    assert model[0].resize(shifts[0][None]).norm() > 3 * radius  # in the model's pixels it is another length
