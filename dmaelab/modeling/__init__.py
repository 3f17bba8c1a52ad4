"""Models: backbones by name, the denoising autoencoder, the classifier and its noisy trainer."""

from dmaelab.modeling.build import BACKBONES, Backbone, build_backbone
from dmaelab.modeling.classifier import Classifier
from dmaelab.modeling.decoder import MAEDecoder
from dmaelab.modeling.denoising_mae import DenoisingMAE, Reconstruction
from dmaelab.modeling.export import save_weights
from dmaelab.modeling.mixing import Mixing
from dmaelab.modeling.noisy_classifier import LossContext, NoisyClassifier
from dmaelab.modeling.official_optimizer import from_official_optimizer
from dmaelab.modeling.pretrained import load_classifier, load_pretrain
from dmaelab.modeling.resnet import CifarResNet
from dmaelab.modeling.transfer import LoadReport, load_pretrained
from dmaelab.modeling.vit import ViT
from dmaelab.modeling.weights import WeightsError, load_exact, load_file, read_weights
from dmaelab.rules.attention import attention_rule

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
    "from_official_optimizer",
    "load_classifier",
    "load_exact",
    "load_file",
    "load_pretrain",
    "load_pretrained",
    "read_weights",
    "save_weights",
]
