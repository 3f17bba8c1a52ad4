"""A plug-in project: noise that grows with the signal, an attacking loss, a certifier, a hook, a launcher."""

from projects.speckle_demo import certifier, corruption, launcher, loss  # noqa: F401 - importing them registers their entries
