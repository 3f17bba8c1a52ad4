"""Whether ``torch.compile`` can work here: it needs a compiler that no wheel brings along."""

import importlib.util
import os
import shutil

from benchmarks.gpu.record import Record


def no_compiler(record: Record) -> str:
    """Return why nothing is compiled for the device of a phase, an empty text if it can be."""
    if record.tiny:
        return "a trial does not wait for a compiler"
    device = record.device
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    candidates = ("gcc", "cc", "clang") if device.type == "cuda" else ("g++", "c++", "clang++")
    variable = "CC" if device.type == "cuda" else "CXX"
    if os.environ.get(variable) or any(map(shutil.which, candidates)):
        return ""
    return f"there is no compiler: none of {', '.join(candidates)} is on the PATH, and ${variable} is not set"
