"""Reconstructions of a pre-training run: pictures, and mean squared errors."""
