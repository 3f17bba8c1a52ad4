"""What a command sets for its process and for those that it starts, before torch is there."""

import os
import platform
import subprocess
import sys

import pytest

from dmaelab.rules import process

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
TUNE = "from dmaelab.rules.process import tune_process; tune_process(); "
# Twenty buffers of 32 MiB, one after the other, and the page faults that they cost.
FAULTS = """
import resource
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): bytearray(2**25)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(code, **environment):
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    result = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **environment}, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_freed_memory_is_kept_here_and_in_the_processes_to_come():
    plain = int(run(FAULTS))
    assert (
        plain > 20 * 2**25 // 2**16
    )  # fewer than this would be pages of more than 64 KiB, and there is nothing to save
    assert int(run(TUNE + FAULTS)) < plain / 4
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {FAULTS!r}], check=True)"
    assert int(run(TUNE + child)) < plain / 4


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (
            {},
            {
                "GOMP_SPINCOUNT": "1000",
                "MALLOC_MMAP_THRESHOLD_": str(2**31 - 1),
                "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
            },
        ),
        ({"GOMP_SPINCOUNT": "9", "MALLOC_TRIM_THRESHOLD_": "0"}, {}),
        ({"OMP_WAIT_POLICY": "ACTIVE", "MALLOC_MMAP_THRESHOLD_": "4096"}, {}),
        ({"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=4096"}, {"GOMP_SPINCOUNT": "1000"}),
    ],
)
def test_what_the_user_has_set_stays(given, kept):
    shown = run(
        TUNE + f"import os; print({{name: os.environ[name] for name in {NAMES} if name in os.environ}})", **given
    )
    assert shown == str({name: {**given, **kept}[name] for name in NAMES if name in {**given, **kept}})


@pytest.mark.parametrize(("most", "threshold"), [(2**31 - 1, str(2**31 - 1)), (2**25, str(2**25)), (0, None)])
def test_an_allocator_that_refuses_large_thresholds_gets_a_smaller_one_or_is_left_alone(monkeypatch, most, threshold):
    """Old releases of glibc take at most 32 MiB; to set the other option alone would make things worse."""
    calls = []

    class Libc:
        @staticmethod
        def mallopt(option, value):
            accepted = option != process._M_MMAP_THRESHOLD or value <= most
            calls.append((option, value)) if accepted else None
            return int(accepted)

    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(process.ctypes, "CDLL", lambda name: Libc)
    process.tune_process()
    found = os.environ.get("MALLOC_MMAP_THRESHOLD_"), os.environ.get("MALLOC_TRIM_THRESHOLD_")
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    assert found == ((threshold, str(2**31 - 1)) if threshold else (None, None))
    assert len(calls) == (2 if threshold else 0)


def test_commands_set_it_before_torch_is_loaded():
    code = TUNE.replace("tune_process(); ", "import sys; print('torch' in sys.modules); ")
    assert run(code + "import dmaelab.utils.cli; print('torch' in sys.modules)").split() == ["False", "False"]
    command = "import os; from dmaelab.utils.cli import run_main; run_main(lambda: print(os.environ['GOMP_SPINCOUNT']))"
    assert run(command) == "1000"
