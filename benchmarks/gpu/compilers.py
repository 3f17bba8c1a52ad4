"""Checks whether ``torch.compile`` can work here: it needs a C or C++ compiler, which pip does not install."""

import importlib.util
import os
import shutil

from benchmarks.gpu.record import Record


def no_compiler(record: Record) -> str:
    """Return why nothing can be compiled for the device of a phase, or an empty text if compilation works."""
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
