"""Models: backbones by name, the denoising autoencoder, the classifier, and the classifier trained under noise."""

from dmaelab.modeling.backbones import CifarResNet, ViT
from dmaelab.modeling.base import Backbone, PatchDecoder, PatchEncoder
from dmaelab.modeling.build import BACKBONES, build_backbone
from dmaelab.modeling.classifier import Classifier
from dmaelab.modeling.decoder import MAEDecoder
from dmaelab.modeling.denoising_mae import DenoisingMAE, Reconstruction
from dmaelab.modeling.mixing import Mixing
from dmaelab.modeling.noisy_classifier import NoisyClassifier
from dmaelab.modeling.noisy_context import NoisyContext

__all__ = [
    "BACKBONES",
    "Backbone",
    "CifarResNet",
    "Classifier",
    "DenoisingMAE",
    "MAEDecoder",
    "Mixing",
    "NoisyClassifier",
    "NoisyContext",
    "PatchDecoder",
    "PatchEncoder",
    "Reconstruction",
    "ViT",
    "build_backbone",
]
