"""Recognise faults of the machine: errors that come neither from the user's input nor from the code.

This is the only place that knows what such errors look like. It needs no torch: torch's own errors are recognised by
the names of their classes and by their texts.
"""

import errno
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from dmaelab.utils.errors import MachineError, UserError

_DISK_FAILED = "the disk or its server failed, or is full", "check it (dmesg), or take another one"
_BROKEN = "the connection to another process or machine broke", "give the same command again"
_FILES_OPEN = "too many files are open", "raise the limit (ulimit -n), or lower num_workers"
_OF_FILES: dict[int | None, tuple[str, str]] = {
    errno.ENOSPC: ("the disk is full", "make room on it"),
    errno.EDQUOT: ("your quota of the disk is used up", "delete files"),
    errno.EFBIG: ("the file would exceed the limit of the size of files", "raise the limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "make it writable, or choose another folder"),
    errno.EIO: _DISK_FAILED,
    errno.EREMOTEIO: _DISK_FAILED,
    errno.ESTALE: _DISK_FAILED,
    errno.ENOTCONN: _DISK_FAILED,
    errno.ECONNRESET: _BROKEN,
    errno.ECONNABORTED: _BROKEN,
    errno.EMFILE: _FILES_OPEN,
    errno.ENFILE: _FILES_OPEN,
    errno.EAGAIN: ("no more processes or threads can be started", "raise the limit (ulimit -u), or lower num_workers"),
}
"""errno -> what happened, and what to do. All others, such as a missing file or permission, are the user's."""

_MEMORY = re.compile(
    r"out of memory|can(?:'t|not) allocate memory|not enough memory|std::bad_alloc"
    r"|_(?:STATUS_)?ALLOC_FAILED|HOST_ALLOCATION_FAILED|CUBLAS_STATUS_NOT_INITIALIZED.*cublasCreate",
    re.IGNORECASE,
)
_GPU = re.compile(
    r"uncorrectable (?:ECC|NVLink)|unspecified launch failure|driver initialization failed"
    r"|launch timed out|busy or unavailable|GPU is lost"
)
_GROUP = re.compile(
    r"gloo.*(?:closed by peer|reset by peer|refused|timed out|broken pipe)|^connection (?:closed|reset)", re.IGNORECASE
)
GROUP_BROKE = "the connection to another process of the group broke"
_MISUSED_GROUP = re.compile(r"invalid (?:usage|argument)", re.IGNORECASE)
_SIZE = re.compile(r"tried to allocate ([\d.]+ \w+)|unable to allocate ([\d.]+ \w+)", re.IGNORECASE)
_SHARED = re.compile(r"</?torch_\w+>.*\((\d+)\)|insufficient shared memory", re.DOTALL)
_KILLED_WORKER = re.compile(r"DataLoader worker \(pid (\d+)\) is killed by signal: ([^.]+)\.")


def machine_error(
    error: BaseException, remedy: str = "", path: str | os.PathLike[str] | None = None
) -> MachineError | None:
    """Return what happened as a ``MachineError`` of one line, or None if ``error`` is not a fault of the machine.

    Args:
        error: any exception; a ``MachineError`` is returned unchanged.
        remedy: what to do if memory is short, such as ``"lower train.micro_batch"``.
        path: the file or folder that was read or written, if the exception may not name it.
    """
    if isinstance(error, MachineError):
        return error
    if isinstance(error, UserError) or not isinstance(error, Exception):
        return None
    text = (
        _killed_worker(str(error))
        or _shared_memory(error)
        or _memory(error, remedy)
        or _files(error, path)
        or _gpu(error)
        or _group(error)
    )
    return MachineError(text) if text else None


@contextmanager
def machine_faults(remedy: str = "", path: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Raise faults of the machine in the block as ``MachineError``; the arguments are those of :func:`machine_error`.

    Other errors pass unchanged. It is a decorator, too.
    """
    try:
        yield
    except Exception as error:
        fault = machine_error(error, remedy, path)
        if fault is None or fault is error:
            raise
        raise fault from error


def killed_by(number: int) -> str:
    """Return ``"killed by SIGKILL"`` for the number of a signal, and the probable reason."""
    reasons = {signal.SIGKILL: "the memory was full", signal.SIGBUS: "the shared memory or the disk was full"}
    why = f", perhaps because {reasons[signal.Signals(number)]}" if number in reasons else ""
    return f"killed by {signal.Signals(number).name}{why}"


def killed_worker(pid: int, number: int) -> MachineError:
    """Return the error of a loader worker, the process ``pid``, that a signal killed."""
    remedy = f"{_SHARED_REMEDY} (now {_room('/dev/shm')})" if number == signal.SIGBUS else f"{_LESS} or the batch size"
    return MachineError(f"a loader worker (process {pid}) was {killed_by(number)}: {remedy}")


_LESS = "lower num_workers (train.num_workers in a config)"
_SHARED_REMEDY = f"enlarge it (the option --shm-size of a container), or {_LESS} or the batch size"


def _killed_worker(text: str) -> str:
    found = _KILLED_WORKER.search(text)
    names = {signal.strsignal(number): number for number in signal.valid_signals()}
    if found is None or found[2] not in names:
        return ""
    return str(killed_worker(int(found[1]), names[found[2]]))


def _shared_memory(error: Exception) -> str:
    found = _SHARED.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return ""
    code = int(found[1] or errno.ENOSPC)
    if code != errno.ENOSPC and code in _OF_FILES:
        return ": ".join(_OF_FILES[code])
    return f"the shared memory is full (/dev/shm, {_room('/dev/shm')}): {_SHARED_REMEDY}"


def _memory(error: Exception, remedy: str) -> str:
    named = any(kind.__name__ == "OutOfMemoryError" for kind in type(error).__mro__)
    text = str(error)
    if not (
        named
        or isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and _MEMORY.search(text))
    ):
        return ""
    on_gpu = named or re.search(r"CUDA|CUBLAS|CUDNN|CUSOLVER|CUSPARSE|CUFFT|NCCL", text)
    size = next((f" (tried to allocate {found[1] or found[2]})" for found in [_SIZE.search(text)] if found), "")
    where, default = (
        ("the GPU", "free memory on it (nvidia-smi shows who holds it)") if on_gpu else ("the machine", "free memory")
    )
    return f"{where} is out of memory{size}: {remedy or default}"


def _files(error: Exception, path: str | os.PathLike[str] | None) -> str:
    code = _errno(error)
    if code not in _OF_FILES:
        return ""
    what, remedy = _OF_FILES[code]
    named = path if path is not None else getattr(error, "filename", None)
    room = f" ({_room(named)})" if code == errno.ENOSPC and named is not None else ""
    where = "" if named is None else f"{os.fsdecode(named)}: "
    return f"{where}{what}{room}: {remedy}"


def _errno(error: Exception) -> int | None:
    """Return the errno of an error. Writers of tensors put another error around that of the operating system."""
    text = str(error)
    if isinstance(error, OSError):
        return error.errno
    if found := re.search(r"\(os error (\d+)\)", text):  # safetensors
        return int(found[1])
    if isinstance(error, RuntimeError) and re.search(r"^Too many open files|received 0 items of ancdata", text):
        return errno.EMFILE
    if isinstance(error, RuntimeError) and "can't start new thread" in text:
        return errno.EAGAIN
    if isinstance(error, RuntimeError) and re.search(r"inline_container.*(?:unexpected pos|failed writing)", text):
        cause = error.__cause__ or error.__context__
        if isinstance(cause, OSError):
            return cause.errno
        if cause is None or isinstance(cause, Exception):  # else Ctrl-C or another signal has stopped the writer
            return errno.EIO
    return None


def _gpu(error: Exception) -> str:
    if not (isinstance(error, RuntimeError) and "CUDA" in str(error) and _GPU.search(str(error))):
        return ""
    return f"the GPU failed ({_first_line(error)}): check it with nvidia-smi, or take another one"


def _group(error: Exception) -> str:
    """Recognise that the connection to another process of the group broke, or could not be made."""
    names = {kind.__name__ for kind in type(error).__mro__}
    broke = names & {"DistBackendError", "DistNetworkError", "DistStoreError"} or (
        isinstance(error, RuntimeError) and _GROUP.search(str(error))
    )
    if not broke or _MISUSED_GROUP.search(str(error)):
        return ""
    return (
        f"{GROUP_BROKE} ({_first_line(error)}): that process has failed or was"
        " killed, see its own message or that of the command"
    )


def _first_line(error: Exception) -> str:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return line if len(line) <= 160 else f"{line[:157]}..."


def _room(path: str | os.PathLike[str] | bytes | int) -> str:
    """Return how much of the disk of a path is free, such as ``"3 MB of 64 MB free"``."""
    place = os.path.abspath(os.fsdecode(path)) if not isinstance(path, int) else os.sep
    while not os.path.exists(place):
        place = os.path.dirname(place)
    usage = shutil.disk_usage(place)
    return f"{_bytes(usage.free)} of {_bytes(usage.total)} free"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.3g} GiB" if count >= 2**30 else f"{count / 2**20:.3g} MiB"
