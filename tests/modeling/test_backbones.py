"""The contract of backbones, held by every registered one at its smallest."""

import pytest
import torch

from dmaelab.modeling import BACKBONES, Backbone, Classifier, PatchEncoder, build_backbone
from dmaelab.utils.random import Draw

SMALL = {"vit": {"width": 24, "depth": 2, "num_heads": 3}, "resnet_cifar": {"depth": 8, "width": 4}}


def build(name):
    torch.manual_seed(0)
    options = SMALL.get(name, {})
    return build_backbone(name, **options, **({"image_size": 8, "patch_size": 4} if name.startswith("vit") else {}))


@pytest.fixture(params=BACKBONES.names())
def backbone(request):
    if request.param in ("vit_base", "vit_large"):  # too large to fill with numbers here
        with torch.device("meta"):
            return build(request.param)
    return build(request.param)


def images_for(backbone, count=3):
    images = Draw(0, "data").normal((count, 3, 8, 8))
    return images.to(next(backbone.parameters()).device)


def test_features(backbone):
    assert isinstance(backbone, Backbone)
    features = backbone(images_for(backbone))
    assert features.shape == (3, backbone.num_features)
    assert features.dtype == torch.float32
    assert features.is_meta or features.isfinite().all()


def test_an_image_does_not_depend_on_its_neighbours(backbone):
    backbone.eval()
    images = images_for(backbone)
    if not images.is_meta:
        torch.testing.assert_close(backbone(images)[:1], backbone(images[:1]), atol=1e-5, rtol=1e-4)


def test_every_parameter_gets_a_gradient(backbone):
    classifier = Classifier(backbone, 4, [0.5] * 3, [0.25] * 3).to(next(backbone.parameters()).device)
    classifier(images_for(backbone)).square().sum().backward()
    assert not [name for name, p in classifier.named_parameters() if p.grad is None]


def test_layers_are_parts_in_order_without_the_head(backbone):
    layers = backbone.layers()
    found = [id(p) for layer in layers for p in layer]
    assert len(found) == len(set(found))
    assert all(layers)
    missing = [name for name, p in backbone.named_parameters() if id(p) not in set(found)]
    assert not [name for name in missing if "norm" not in name]


def test_a_backbone_must_define_its_methods():
    nothing = type("Nothing", (Backbone,), {})()
    with pytest.raises(NotImplementedError, match="Nothing must define forward"):
        nothing(torch.zeros(1))
    with pytest.raises(NotImplementedError, match="Nothing must define layers"):
        nothing.layers()


def test_a_patch_encoder_must_define_its_methods():
    nothing = type("Nothing", (PatchEncoder,), {})()
    for method in (nothing.embed, nothing.encode, nothing.forward):
        with pytest.raises(NotImplementedError, match=f"Nothing must define {method.__name__}"):
            method(torch.zeros(1))
