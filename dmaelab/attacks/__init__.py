"""Attacks: where in a ball around an image the smoothed classifier is least sure of its class."""

from dmaelab.attacks.balls import NORMS, Balls
from dmaelab.attacks.pgd import PGD

__all__ = ["NORMS", "PGD", "Balls"]
