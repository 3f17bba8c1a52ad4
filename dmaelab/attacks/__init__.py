"""Attacks: search a ball for an image at which a classifier under noise is least sure of a class.

The search itself does not know the noise or the precision. The caller gives it a function that returns the logits of
noisy copies. So the test of certificates (:mod:`dmaelab.smoothing.soundness`) and losses for adversarial training use
the same search.
"""

from dmaelab.attacks.balls import BALL_NORMS, Balls
from dmaelab.attacks.pgd import PGD, Directions, NoisyLogits

__all__ = ["BALL_NORMS", "PGD", "Balls", "Directions", "NoisyLogits"]
