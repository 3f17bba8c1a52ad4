"""Certifiers by name."""

from dmaelab.registry import Registry, builder

CERTIFIERS = Registry("certifier")
build_certifier = builder(CERTIFIERS, __name__)
