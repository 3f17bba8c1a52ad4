"""Certification of any classifier by randomized smoothing."""

from dmaelab.certifiers import (
    ABSTAIN,
    CERTIFIERS,
    Case,
    Certificate,
    Certifier,
    Cohen,
    Predict,
    Sequential,
    TwoStage,
    Votes,
    build_certifier,
    runner_up,
    select,
)
from dmaelab.smoothing.identity import weights_hash
from dmaelab.smoothing.runner import certify_images
from dmaelab.smoothing.smoothed import SmoothedClassifier
from dmaelab.smoothing.smoothing import Smoothing

__all__ = [
    "ABSTAIN",
    "CERTIFIERS",
    "Case",
    "Certificate",
    "Certifier",
    "Cohen",
    "Predict",
    "Sequential",
    "SmoothedClassifier",
    "Smoothing",
    "TwoStage",
    "Votes",
    "build_certifier",
    "certify_images",
    "runner_up",
    "select",
    "weights_hash",
]
