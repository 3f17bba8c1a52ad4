"""Attacks: images in a ball at which a classifier under noise is least sure of a class.

The search knows neither noise nor precision: who attacks gives it a function that returns logits of noisy copies. So
the check of certificates (:mod:`dmaelab.smoothing.soundness`) and losses that train against an attack share one search.
"""

from dmaelab.attacks.balls import NORMS, Balls
from dmaelab.attacks.pgd import PGD, Directions, NoisyLogits

__all__ = ["NORMS", "PGD", "Balls", "Directions", "NoisyLogits"]
