"""Certification of any classifier by randomized smoothing."""

from dmaelab.smoothing.build import (
    ABSTAIN,
    CERTIFIERS,
    Case,
    Certificate,
    Certifier,
    Votes,
    build_certifier,
    runner_up,
    select,
)
from dmaelab.smoothing.cohen import Cohen
from dmaelab.smoothing.identity import weights_hash
from dmaelab.smoothing.predict import Predict
from dmaelab.smoothing.runner import certify_images
from dmaelab.smoothing.sequential import Sequential
from dmaelab.smoothing.smoothed import SmoothedClassifier
from dmaelab.smoothing.two_stage import TwoStage

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
    "TwoStage",
    "Votes",
    "build_certifier",
    "certify_images",
    "runner_up",
    "select",
    "weights_hash",
]
