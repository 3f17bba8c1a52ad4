"""Statistics of vote counts: bounds, tests, confidence intervals and certified radii. It does not import torch."""
