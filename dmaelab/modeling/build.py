"""The interfaces of networks: backbones, and the encoder and decoder of a masked autoencoder."""

from torch import Tensor, nn

from dmaelab.registry import Registry, builder

BACKBONES = Registry("backbone")
build_backbone = builder(BACKBONES)
build_backbone.__module__ = __name__


class Backbone(nn.Module):
    """A network from normalised images to one vector of features each.

    Attributes:
        num_features: width D of the features.
        input_size: side in pixels that the images must have; ``None`` takes any.
    """

    num_features: int
    input_size: int | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N,D] of normalised images [N,C,H,W]."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(images)")

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters in groups from the input on, for layer-wise learning-rate decay.

        A final norm is in no group: like the head, it learns at the full rate.
        """
        raise NotImplementedError(f"{type(self).__name__} must define layers()")


class PatchEncoder(Backbone):
    """A backbone that works on patch tokens, so that it can also be the encoder of a masked autoencoder.

    A classifier calls ``forward``, which pools. An autoencoder calls :meth:`embed`, drops the hidden tokens, and calls
    :meth:`encode` with the rest. This class is all that the autoencoder and its decoder know of the encoder.

    Attributes:
        grid: patches along a side of the image; an image has L = grid**2 patches, row by row.
        patch_size: side of a patch in pixels.
        in_channels: channels C of the images.
        num_prefix_tokens: tokens that :meth:`encode` puts before those of the patches, such as the class token.
        pool: how ``forward`` makes features of the tokens; ``None`` for an encoder, whose ``forward`` is not called.
        mlp_ratio: hidden width of its MLPs over their width; the decoder takes the same.
        attention: kernel of its attention, as in :class:`dmaelab.modeling.attention.Attention`; the decoder takes the
            same.
    """

    grid: int
    patch_size: int
    in_channels: int
    num_prefix_tokens: int = 1
    pool: str | None
    mlp_ratio: float
    attention: str

    def embed(self, images: Tensor) -> Tensor:
        """Return patch tokens with their positions [N,L,D] of normalised images [N,C,H,W]."""
        raise NotImplementedError(f"{type(self).__name__} must define embed(images)")

    def encode(self, tokens: Tensor) -> Tensor:
        """Return encoded tokens [N,P+K,D], the P prefix tokens first, of K patch tokens [N,K,D].

        With pool ``None`` the final norm has been applied.
        """
        raise NotImplementedError(f"{type(self).__name__} must define encode(tokens)")


class PatchDecoder(nn.Module):
    """The decoder of a masked autoencoder: from the tokens of visible patches to the pixels of all.

    Attributes:
        is_new: whether it stands, with random weights, behind an encoder that was trained: what it predicts means
            nothing yet.
    """

    is_new: bool = False

    def forward(self, latent: Tensor, ids_restore: Tensor) -> Tensor:
        """Return predicted patches [N,L,p*p*C].

        Args:
            latent: what :meth:`PatchEncoder.encode` returned of the visible patches, in shuffled order.
            ids_restore: [N,L] int64, undoes the shuffle.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(latent, ids_restore)")
