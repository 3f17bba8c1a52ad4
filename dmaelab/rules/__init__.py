"""What is faster where: one file per rule, each with the measurement that supports it.

A rule is a function of the device, never of a stopwatch inside a run: two runs of one config on one kind of machine must choose
alike. The figures are in ``docs/benchmarks.md``. Nothing here imports torch before it is needed, because one of the
rules has to be set before torch is loaded.
"""
