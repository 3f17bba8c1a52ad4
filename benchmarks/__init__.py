"""Benchmarks of the package. Run them from the root of the repository, as in ``python -m benchmarks.certify``.

Each file is one command that answers one question; ``timing.py`` has the shared code. Each compares alternatives side
by side in one run. ``python -m benchmarks.gpu`` measures all that is of interest on a GPU, in one command with a time
limit. The results are in ``docs/benchmarks.md``.
"""
