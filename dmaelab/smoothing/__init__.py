"""Certification of any classifier by randomized smoothing."""

from dmaelab.certifiers import build_certifier
from dmaelab.smoothing.identity import weights_hash
from dmaelab.smoothing.runner import certify_images
from dmaelab.smoothing.smoothed import SmoothedClassifier
from dmaelab.smoothing.smoothing import Smoothing

__all__ = ["SmoothedClassifier", "Smoothing", "build_certifier", "certify_images", "weights_hash"]
