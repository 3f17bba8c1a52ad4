"""Certification logs: write, resume and merge them, and read those of other tools. It does not import torch."""
