"""Models: backbones by name, the denoising autoencoder, the classifier and its noisy trainer."""

from dmaelab.modeling.attention import attention_rule
from dmaelab.modeling.build import BACKBONES, Backbone, build_backbone
from dmaelab.modeling.classifier import Classifier
from dmaelab.modeling.decoder import MAEDecoder
from dmaelab.modeling.denoising_mae import DenoisingMAE, Reconstruction
from dmaelab.modeling.mixing import Mixing
from dmaelab.modeling.noisy_classifier import LossContext, NoisyClassifier
from dmaelab.modeling.resnet import CifarResNet
from dmaelab.modeling.vit import ViT
from dmaelab.modeling.weights import LoadReport, WeightsError, load_exact, load_file, load_pretrained

__all__ = [
    "BACKBONES",
    "Backbone",
    "CifarResNet",
    "Classifier",
    "DenoisingMAE",
    "LoadReport",
    "LossContext",
    "MAEDecoder",
    "Mixing",
    "NoisyClassifier",
    "Reconstruction",
    "ViT",
    "WeightsError",
    "attention_rule",
    "build_backbone",
    "load_exact",
    "load_file",
    "load_pretrained",
]
