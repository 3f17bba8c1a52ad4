"""Settings of a process on a CPU: how it reuses freed memory and how its idle threads wait."""

import ctypes
import os

# The names under which glibc and libgomp read their settings when a process starts.
_WAIT = "GOMP_SPINCOUNT"
_MMAP, _TRIM = "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt(3)

# Buffers of at least so many bytes are returned to the system. Old releases of glibc accept at most _MOST.
_NEVER, _MOST = 2**31 - 1, 2**25


def tune_process() -> None:
    """Keep freed memory, and let idle threads sleep soon, in this process and in its child processes.

    Call it before torch is imported, because torch loads libgomp, which reads its settings at that moment. Settings
    that the user has made in the environment are kept. Without glibc, nothing is changed for memory.

    *Memory.* By default glibc returns large buffers to the system after every operation and requests them again for the
    next one, which costs a page fault for each of their pages. If the memory is kept, forward passes of small networks
    ran 1.2 to 1.5 times as fast, and training 1.06 times. Peak memory rose by up to 40 % in bf16, and by less than 15 %
    otherwise.

    *Waiting.* By default an idle OpenMP thread spins for milliseconds and blocks the core for other processes. With a
    short spin, and two other busy processes on two cores, forward passes ran 1.15 to 1.3 times as fast, and
    pre-training on digits 1.4 times. On an idle machine it costs up to 18 %, most in small networks.

    Measured by ``python -m benchmarks.processor``; all figures are in ``docs/benchmarks.md``.
    """
    if not os.environ.keys() & {_WAIT, "OMP_WAIT_POLICY"}:
        os.environ[_WAIT] = "1000"
    if not os.environ.keys() & {_MMAP, _TRIM} and "glibc.malloc" not in os.environ.get("GLIBC_TUNABLES", ""):
        _keep_memory()


def _keep_memory() -> None:
    """Set both thresholds of glibc in this process, and in the environment for its child processes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    threshold = next((size for size in (_NEVER, _MOST) if mallopt(_M_MMAP_THRESHOLD, size)), None)
    if threshold is not None:  # setting only the trim threshold would make it slower
        mallopt(_M_TRIM_THRESHOLD, _NEVER)
        os.environ.update({_MMAP: str(threshold), _TRIM: str(_NEVER)})
