"""Rules that choose the faster option for a device, one file for each, with the measurement that supports it.

A rule depends only on the device. It never measures time during a run, so that two runs of one config on the same kind
of machine choose the same option. All measurements are in ``docs/benchmarks.md``. ``process.py`` must be called before
torch is imported, and therefore does not import it.
"""
