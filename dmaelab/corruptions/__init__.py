"""Corruptions (noises) on images in [0,1] pixel space, and their registry."""

from dmaelab.corruptions.base import Corrupted, Corruption
from dmaelab.corruptions.build import CORRUPTIONS, build_corruption
from dmaelab.corruptions.gaussian import Gaussian
from dmaelab.corruptions.laplace import Laplace
from dmaelab.corruptions.quantised_gaussian import QuantisedGaussian
from dmaelab.corruptions.uniform import Uniform

__all__ = [
    "CORRUPTIONS",
    "Corrupted",
    "Corruption",
    "Gaussian",
    "Laplace",
    "QuantisedGaussian",
    "Uniform",
    "build_corruption",
]
