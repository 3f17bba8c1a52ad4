"""A plug-in project: a noise that grows with the signal, and a certifier that may stop after a first look."""

from projects.speckle_demo import certifier, corruption  # noqa: F401 - importing them registers their entries
