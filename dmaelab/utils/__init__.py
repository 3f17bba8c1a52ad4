"""Helpers that every other package may use: errors, files, random numbers, logging."""
