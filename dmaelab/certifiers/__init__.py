"""Certifiers by name: they turn the votes of a smoothed classifier into a prediction and a radius, without torch."""

from dmaelab.certifiers.base import Certifier, sample_count
from dmaelab.certifiers.build import CERTIFIERS, build_certifier
from dmaelab.certifiers.case import Case
from dmaelab.certifiers.certificate import ABSTAIN, Certificate, Votes
from dmaelab.certifiers.cohen import Cohen
from dmaelab.certifiers.counts import runner_up, select
from dmaelab.certifiers.predict import Predict
from dmaelab.certifiers.sequential import Sequential
from dmaelab.certifiers.two_stage import TwoStage

__all__ = [
    "ABSTAIN",
    "CERTIFIERS",
    "Case",
    "Certificate",
    "Certifier",
    "Cohen",
    "Predict",
    "Sequential",
    "TwoStage",
    "Votes",
    "build_certifier",
    "runner_up",
    "sample_count",
    "select",
]
