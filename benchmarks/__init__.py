"""Speed of the package, measured side by side: ``python -m benchmarks.certify`` and so on, from the repository's root.

Each file is one question and one command; what they share is in ``timing.py``. ``python -m benchmarks.gpu`` puts all
that is worth knowing on a GPU into one command with a time limit. Figures are in ``docs/benchmarks.md``.
"""
