"""Contract check of backbones."""

import torch
from torch import Tensor

from dmaelab.modeling import Backbone, PatchEncoder
from dmaelab.smoothing.probe import row_dependence
from dmaelab.testing.expect import Expect
from dmaelab.utils.errors import UserError
from dmaelab.utils.random import Draw
from dmaelab.utils.seeding import global_generators


def check_backbone(backbone: Backbone, image_shape: tuple[int, int, int]) -> None:
    """Check that a backbone keeps the contract of :class:`~dmaelab.modeling.Backbone`.

    * Features are finite float32 [N, num_features].
    * In evaluation mode the features of an image depend on nothing else, as the probe of a certification requires
      (:mod:`dmaelab.smoothing.probe`): not on other images, earlier calls, or random numbers.
    * If it has an ``input_size``, it refuses images of another size with a ``UserError``.
    * It uses no global random generator in evaluation mode, changes neither its input nor its state, and does not
      read values back to the host.
    * ``layers()`` names parameters of the backbone, each once, and every parameter gets a gradient.

    For a :class:`PatchEncoder`, the methods ``embed`` and ``encode`` that an autoencoder needs are checked as well.

    Args:
        backbone: the network, with a pool; its mode (training or evaluation) is restored.
        image_shape: ``(C, H, W)`` of images that it takes.

    Raises:
        AssertionError: the contract is broken; the text names the first problem.
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
    expect(
        set(grouped) <= set(map(id, backbone.parameters())), "layers() names a parameter that is not in the backbone"
    )


@torch.no_grad()
def _check_evaluation(expect: Expect, backbone: Backbone, images: Tensor) -> None:
    with expect.isolation(images, *backbone.state_dict().values()), expect.on_device():
        features = backbone(images)
    wanted = [len(images), backbone.num_features]
    expect(
        list(features.shape) == wanted,
        f"its features have the shape {list(features.shape)}, not [N, num_features] = {wanted}",
    )
    expect(features.dtype == torch.float32 and features.isfinite().all(), "its features are not finite float32 numbers")
    finding = row_dependence(backbone, Draw(0, "call", "rows").normal((8, *images.shape[1:])), backbone)
    expect(finding is None, f"in evaluation mode {finding}")


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
        f"it has an input_size, but for images of another size it gives {reaction}; raise a UserError, or set"
        " input_size to None",
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
        f"encode() of one token returns {list(encoded)}, not num_prefix_tokens + 1 tokens: {wanted}",
    )


def _check_gradients(expect: Expect, backbone: Backbone, images: Tensor) -> None:
    with global_generators(0):  # drop path uses the global generator
        backbone(images).square().sum().backward()
    idle = [name for name, p in backbone.named_parameters() if p.requires_grad and p.grad is None]
    expect(
        not idle,
        f"no gradient reaches {', '.join(idle)}, which breaks distributed training; remove or freeze unused parameters",
    )
