"""A plug-in project: noise that grows with the signal, an attacking loss, a certifier, a hook, a launcher."""

# Importing these modules registers their entries.
from projects.speckle_demo import certifier, corruption, loss  # noqa: F401
