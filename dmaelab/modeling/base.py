"""The base classes of networks: backbones, and the encoder and decoder of a masked autoencoder."""

from torch import Tensor, nn


class Backbone(nn.Module):
    """Base class of networks that map each normalised image to one vector of features.

    Attributes:
        num_features: number D of features.
        input_size: side in pixels that the images must have; ``None`` accepts any size.
    """

    num_features: int
    input_size: int | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return features [N,D] of normalised images [N,C,H,W]."""
        raise NotImplementedError(f"{type(self).__name__} must define forward(images)")

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters in groups, from input to output, for layer-wise learning-rate decay.

        A final norm belongs to no group: like the head, it is trained with the full learning rate.
        """
        raise NotImplementedError(f"{type(self).__name__} must define layers()")


class PatchEncoder(Backbone):
    """Base class of backbones that work on patch tokens, so that they can be the encoder of a masked autoencoder.

    A classifier calls ``forward``, which pools the tokens. An autoencoder calls :meth:`embed`, drops the hidden tokens,
    and calls :meth:`encode` with the rest. The autoencoder and its decoder use only this interface.

    Attributes:
        grid: patches along a side of the image; an image has L = grid**2 patches, row by row.
        patch_size: side of a patch in pixels.
        in_channels: channels C of the images.
        num_prefix_tokens: tokens that :meth:`encode` puts before those of the patches, such as the class token.
        pool: how ``forward`` turns tokens into features; ``None`` for an encoder, whose ``forward`` is not called.
        mlp_ratio: hidden width of its MLPs divided by the token width; the decoder has the same ratio.
        attention: kernel of its attention, as in :class:`dmaelab.modeling.attention.Attention`; the decoder uses the
            same.
        num_heads: attention heads of its blocks. No tensor shows them, so weight files store them, and weights that
            were trained with another number are refused; ``None`` if it has no such number.

    Three attributes say how weights of an encoder (``pool=None``) become those of a classifier's backbone. Names are
    those in ``state_dict()``.

    Attributes:
        position_table: name of the position table, ``[1, R+L, D]``: R >= 0 rows for prefix tokens, then one row for
            each patch. It is interpolated if the weights come from another grid. Without a tensor of this name, nothing
            is interpolated.
        new_in_classifier: beginnings of the names of tensors that a backbone may have and its encoder not, such as
            ``"fc_norm."``: they keep their initial values.
        dropped_in_classifier: beginnings of the names of tensors that an encoder may have and the backbone not.
    """

    grid: int
    patch_size: int
    in_channels: int
    num_prefix_tokens: int = 1
    pool: str | None
    mlp_ratio: float
    attention: str
    num_heads: int | None = None
    position_table: str = "pos_embed"
    new_in_classifier: tuple[str, ...] = ()
    dropped_in_classifier: tuple[str, ...] = ()

    def embed(self, images: Tensor) -> Tensor:
        """Return the patch tokens [N,L,D], positions added, of normalised images [N,C,H,W]."""
        raise NotImplementedError(f"{type(self).__name__} must define embed(images)")

    def encode(self, tokens: Tensor) -> Tensor:
        """Return encoded tokens [N,P+K,D], the P prefix tokens first, of K patch tokens [N,K,D].

        If ``pool`` is ``None``, the final norm has been applied to them.
        """
        raise NotImplementedError(f"{type(self).__name__} must define encode(tokens)")


class PatchDecoder(nn.Module):
    """Base class of decoders of a masked autoencoder: they map the tokens of visible patches to the pixels of all.

    Attributes:
        is_new: whether the decoder still has random weights although its encoder was trained. Its predictions are then
            meaningless.
        num_heads, position_table: as for a :class:`PatchEncoder`.
    """

    is_new: bool = False
    num_heads: int | None = None
    position_table: str = "pos_embed"

    def forward(self, latent: Tensor, ids_restore: Tensor) -> Tensor:
        """Return predicted patches [N,L,p*p*C].

        Args:
            latent: output [N,P+K,D] of :meth:`PatchEncoder.encode` for the visible patches, in shuffled order.
            ids_restore: [N,L] int64, the indices that undo the shuffle.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(latent, ids_restore)")
