"""What is faster where: one file per rule, each with the measurement that supports it.

A rule is a function of the device, never of a stopwatch inside a run: two runs of one config on one kind of machine
must choose alike. The figures are in ``docs/benchmarks.md``. ``process.py`` imports no torch: it has to be called
before torch is loaded.
"""
