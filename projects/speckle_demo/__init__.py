"""A plug-in project: noise that grows with the signal, a loss that attacks, a certifier with two looks, and a hook."""

from projects.speckle_demo import certifier, corruption, loss  # noqa: F401 - importing them registers their entries
