"""What every backbone promises."""

import torch
from torch import Tensor

from dmaelab.data.seeding import global_generators
from dmaelab.modeling import Backbone, PatchEncoder
from dmaelab.testing.expect import Expect
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw


def check_backbone(backbone: Backbone, image_shape: tuple[int, int, int]) -> None:
    """Check a backbone: features [N,D], images one by one in evaluation mode, layers, a gradient for each parameter.

    Args:
        backbone: the network, with a pool; its mode is put back. Of a :class:`PatchEncoder` the methods for an
            autoencoder are checked too.
        image_shape: ``(C, H, W)`` of images that it takes.

    Raises:
        AssertionError: for the first promise that it breaks.
    """
    expect = Expect(backbone)
    images = Draw(0, "call", "images").normal((3, *image_shape))
    training = backbone.training
    try:
        _check_evaluation(expect, backbone.eval(), images)
        if backbone.input_size is not None:
            _check_refusal(expect, backbone, torch.zeros(1, image_shape[0], image_shape[1] + 1, image_shape[2] + 1))
        if isinstance(backbone, PatchEncoder):
            _check_encoder(expect, backbone, images)
        _check_gradients(expect, backbone.train(), images)
    finally:
        backbone.train(training)
        backbone.zero_grad(set_to_none=True)
    grouped = [id(parameter) for layer in backbone.layers() for parameter in layer]
    expect(grouped and len(set(grouped)) == len(grouped), "layers() names no parameter, or one twice")
    expect(set(grouped) <= set(map(id, backbone.parameters())), "layers() names a parameter that is not the backbone's")


@torch.no_grad()
def _check_evaluation(expect: Expect, backbone: Backbone, images: Tensor) -> None:
    with expect.isolation(images, *backbone.state_dict().values()), expect.on_device():
        features, again, alone = backbone(images), backbone(images), backbone(images[:1])
    wanted = [len(images), backbone.num_features]
    expect(
        list(features.shape) == wanted,
        f"its features have the shape {list(features.shape)}, not [N, num_features] = {wanted}",
    )
    expect(features.dtype == torch.float32 and features.isfinite().all(), "its features are not finite float32 numbers")
    expect(torch.equal(features, again), "it is random in evaluation mode")
    expect(
        torch.allclose(features[:1], alone, rtol=1e-4, atol=1e-4),
        "in evaluation mode the features of an image depend on its batch",
    )


@torch.no_grad()
def _check_refusal(expect: Expect, backbone: Backbone, images: Tensor) -> None:
    reaction = "features"
    try:
        backbone(images)
    except UserError:
        return
    except Exception as error:
        reaction = type(error).__name__
    expect(
        False,
        f"it has an input_size and meets images of another size with {reaction}; raise a UserError, or set input_size"
        " to None",
    )


@torch.no_grad()
def _check_encoder(expect: Expect, backbone: PatchEncoder, images: Tensor) -> None:
    tokens = backbone.embed(images)
    wanted = [len(images), backbone.grid**2, backbone.num_features]
    expect(
        list(tokens.shape) == wanted, f"embed() returns {list(tokens.shape)}, not [N, grid^2, num_features] = {wanted}"
    )
    encoded = backbone.encode(tokens[:, :1]).shape
    wanted = [len(images), backbone.num_prefix_tokens + 1, backbone.num_features]
    expect(
        list(encoded) == wanted,
        f"encode() of one token returns {list(encoded)}, not its num_prefix_tokens and that one, {wanted}",
    )


def _check_gradients(expect: Expect, backbone: Backbone, images: Tensor) -> None:
    with global_generators(0):  # drop path draws from a global one
        backbone(images).square().sum().backward()
    idle = [name for name, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    expect(
        not idle,
        f"no gradient reaches {', '.join(idle)}, which stops distributed training; drop or freeze what is not used",
    )
