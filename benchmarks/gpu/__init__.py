"""All GPU measurements in one command with a time limit: ``python -m benchmarks.gpu``.

The command runs several phases. A phase is a module with a function ``run(record)``, which takes its measurements
through a :class:`~benchmarks.gpu.record.Record`. Each phase runs in its own process with a share of the time. Every
measurement is written to disk immediately.
"""
