"""All that is worth knowing on a GPU, in one command with a time limit: ``python -m benchmarks.gpu``.

A phase is a module with ``run(record)``: it asks its :class:`~benchmarks.gpu.record.Record` to take one measurement
after another. Each phase has a process of its own and a share of the time; what was measured is on disk at once.
"""
