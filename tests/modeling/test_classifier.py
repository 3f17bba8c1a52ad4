import pytest
import torch

from dmaelab.modeling import Classifier, ViT
from dmaelab.utils.errors import ConfigError
from dmaelab.utils.random import Draw

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]


def classifier(**options):
    torch.manual_seed(0)
    model = Classifier(ViT(24, 1, 3, image_size=8, patch_size=4), 5, MEAN, STD, **options)
    torch.nn.init.normal_(model.head.weight)
    return model.eval()


def test_pixels_to_logits():
    model = classifier()
    images = Draw(0, "data").normal((2, 3, 8, 8)) + 0.5  # far outside [0, 1]: nothing is clamped
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    expected = model.head(model.backbone((images - mean) / std))
    assert expected.shape == (2, 5)
    torch.testing.assert_close(model(images), expected)


def test_it_adds_no_noise_of_its_own():
    model = classifier().train()
    images = Draw(0, "data").uniform((2, 3, 8, 8))
    assert torch.equal(model(images), model(images))


def test_it_resizes_after_what_is_added_at_the_native_size():
    model = classifier(input_size=8)
    images = Draw(0, "data").uniform((2, 3, 5, 5))
    resized = torch.nn.functional.interpolate(images, size=(8, 8), mode="bicubic", align_corners=False)
    torch.testing.assert_close(model(images), model(resized))


def test_statistics_travel_with_the_weights():
    model = classifier()
    other = Classifier(ViT(24, 1, 3, image_size=8, patch_size=4), 5, [0.0] * 3, [1.0] * 3).eval()
    assert not torch.equal(other.preprocess.pixel_std, model.preprocess.pixel_std)
    other.load_state_dict(model.state_dict())
    images = Draw(0, "data").uniform((2, 3, 8, 8))
    assert torch.equal(other(images), model(images))


def test_layers_are_the_backbones():
    model = classifier()
    assert [list(map(id, layer)) for layer in model.layers()] == [
        list(map(id, layer)) for layer in model.backbone.layers()
    ]


@pytest.mark.parametrize("num_classes", [1, 0, -3])
def test_fewer_than_two_classes(num_classes):
    with pytest.raises(ConfigError, match=r"num_classes is .*: a classifier needs at least 2"):
        Classifier(ViT(24, 1, 3, image_size=8, patch_size=4), num_classes, MEAN, STD)
