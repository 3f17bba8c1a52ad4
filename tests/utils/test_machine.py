"""Faults of the machine are recognised by what they look like; wrong input and bugs are not taken for them."""

import errno
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.distributed import DistBackendError, DistNetworkError

from dmaelab.utils.errors import ConfigError, MachineError, UserError
from dmaelab.utils.machine import killed_worker, machine_error, machine_faults


def raised(call):
    """Return the exception that a call raises."""
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def os_error(number, path=None):
    return OSError(number, os.strerror(number), *[] if path is None else [str(path)])


CUDA = "CUDA error: {}\nCUDA kernel errors might be asynchronously reported at some other API call"
GLOO = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] {} [127.0.0.1]:37613"

FAULTS = [
    # memory: errors that are really raised here
    (raised(lambda: torch.empty(1 << 60)), "the machine is out of memory (tried to allocate 461168601842738790"),
    (raised(lambda: np.zeros(1 << 50)), "the machine is out of memory (tried to allocate 8.00 PiB)"),
    (raised(lambda: bytearray(1 << 60)), "the machine is out of memory: lower x"),
    (RuntimeError("std::bad_alloc"), "the machine is out of memory"),
    (os_error(errno.ENOMEM), "the machine is out of memory"),
    # memory: errors of a GPU
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of"),
     "the GPU is out of memory (tried to allocate 20.00 GiB): lower x"),
    (RuntimeError(CUDA.format("out of memory")), "the GPU is out of memory"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "the GPU is out of"),
    (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"), "the GPU is out"),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), "the GPU is out of memory"),
    (RuntimeError("Caught RuntimeError in pin memory thread for device 0.\nOriginal Traceback:\n" + CUDA.format(
        "out of memory")), "the GPU is out of memory"),
    # other faults of a GPU
    (RuntimeError(CUDA.format("uncorrectable ECC error encountered")), "the GPU failed (CUDA error: uncorrectable ECC"),
    (RuntimeError(CUDA.format("unspecified launch failure")), "the GPU failed (CUDA error: unspecified"),
    (RuntimeError("CUDA driver initialization failed, you might not have a CUDA gpu."), "the GPU failed"),
    # files
    (os_error(errno.ENOSPC, "/tmp/a"), "/tmp/a: the disk is full ("),
    (os_error(errno.EDQUOT, "/tmp/a"), "/tmp/a: your quota of the disk is used up: delete files"),
    (os_error(errno.EIO), "the disk or its server failed, or is full"),
    (os_error(errno.ESTALE), "the disk or its server failed"),
    (os_error(errno.EROFS, "/a/b"), "/a/b: the file system is read-only"),
    (os_error(errno.EFBIG), "the file would exceed the limit of the size of files"),
    (os_error(errno.EMFILE), "too many files are open: raise the limit (ulimit -n)"),
    (RuntimeError("received 0 items of ancdata"), "too many files are open"),
    (RuntimeError("Too many open files. Communication with the workers is no longer possible."), "too many files"),
    (os_error(errno.EAGAIN), "no more processes or threads can be started"),
    (RuntimeError("can't start new thread"), "no more processes or threads can be started"),
    (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"), "the disk or its server"),
    # shared memory, and loader workers
    (RuntimeError("unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"),
     "the shared memory is full (/dev/shm, "),
    (RuntimeError("unable to write to file </torch_1_2_3>: No space left on device (28)"), "the shared memory is full"),
    (RuntimeError("unable to open shared memory object </torch_1_2> in read-write mode: Too many open files (24)"),
     "too many files are open"),
    (RuntimeError("DataLoader worker (pid 17) is killed by signal: Killed. "),
     "a loader worker (process 17) was killed by SIGKILL, perhaps because the memory was full: lower num_workers"),
    (RuntimeError("DataLoader worker (pid 17) is killed by signal: Bus error. It is possible that dataloader's workers"
                  " are out of shared memory. Please try to raise your shared memory limit."),
     "a loader worker (process 17) was killed by SIGBUS, perhaps because the shared memory or the disk was full: "
     "enlarge it (the option --shm-size of a container)"),
    # the group of processes
    (RuntimeError(GLOO.format("Connection closed by peer")), "the connection to another process"),
    (RuntimeError(GLOO.format("Read error [127.0.0.1]:1: Connection reset by peer")), "the connection to another"),
    (RuntimeError("Connection closed by peer [127.0.0.1]:1"), "the connection to another process of the group broke"),
    (DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:3356, unhandled system error"), "the connection to another"),
    (DistNetworkError("The client socket has timed out"), "the connection to another process of the group broke"),
    (os_error(errno.ECONNRESET), "the connection to another process or machine broke"),
]  # fmt: skip

OTHERS = [
    ConfigError("out of memory"),
    os_error(errno.ENOENT, "/nowhere"),
    os_error(errno.EACCES, "/secret"),
    os_error(errno.EISDIR, "/tmp"),
    os_error(errno.ENAMETOOLONG),
    OSError("cannot identify image file"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
    RuntimeError(CUDA.format("device-side assert triggered")),
    RuntimeError(CUDA.format("an illegal memory access was encountered")),
    RuntimeError("Storage size calculation overflowed with sizes=[4611686018427387904, 8]"),
    RuntimeError("DataLoader worker (pid(s) 17) exited unexpectedly"),
    RuntimeError("PytorchStreamReader failed reading zip archive: failed finding central directory"),
    RuntimeError("[enforce fail at pair.cc:446] op.preamble.length <= op.nbytes. 8 vs 4"),
    DistBackendError("NCCL error in: NCCLUtils.cpp:94, invalid usage (run with NCCL_DEBUG=WARN for details)"),
    ValueError("out of memory"),
    KeyError("No space left on device"),
    ZeroDivisionError(),
]


@pytest.mark.parametrize(("error", "text"), FAULTS, ids=lambda value: str(value)[:40].replace("\n", " "))
def test_faults_are_one_line(error, text):
    fault = machine_error(error, "lower x")
    assert str(fault).startswith(text)
    assert "\n" not in str(fault)
    assert str(pickle.loads(pickle.dumps(fault))) == str(fault)  # a loader worker sends it


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: str(error)[:40].replace("\n", " "))
def test_wrong_input_and_bugs_are_not_faults_of_the_machine(error):
    assert machine_error(error) is None
    with pytest.raises(type(error)) as caught, machine_faults():
        raise error
    assert caught.value is error


def test_a_fault_names_the_path_that_is_given(tmp_path):
    missing = tmp_path / "not" / "there"
    text = rf"^{missing}: the disk is full \(.*iB of .*iB free\): make room on it$"
    with pytest.raises(MachineError, match=text), machine_faults(path=missing):
        raise os_error(errno.ENOSPC)


def test_a_fault_that_is_named_already_stays_as_it_is():
    fault = MachineError("the disk is full")
    assert machine_error(fault, "lower x", "/tmp") is fault
    with pytest.raises(MachineError) as caught, machine_faults("lower x"):
        raise fault
    assert caught.value is fault


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(3)])
def test_a_writer_that_was_interrupted_is_no_fault(stop):
    error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598")
    error.__context__ = stop
    assert machine_error(error) is None
    assert machine_error(stop) is None


def test_the_writer_of_tensors_is_asked_for_the_error_of_the_disk():
    """With a limit of the size of files, torch's writer fails as on a full disk."""
    code = """
import resource, sys, torch
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import atomic_write
from dmaelab.utils.cli import run_main
resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
run_main(lambda: atomic_write(sys.argv[1], lambda file: torch.save(torch.zeros(2**18), file)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "x.pth"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (
        done.stderr
        == "error: x.pth: the file would exceed the limit of the size of files: raise the limit (ulimit -f)\n"
    )
    assert done.returncode == 71


def test_an_unknown_signal_has_no_reason():
    assert "killed by SIGSEGV: lower" in str(killed_worker(3, signal.SIGSEGV))
    assert not isinstance(killed_worker(3, signal.SIGSEGV), UserError)
