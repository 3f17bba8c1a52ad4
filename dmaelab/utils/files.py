"""Files: atomic writes (a file is renamed when it is complete), hashes, and the deletion of folders."""

import errno
import hashlib
import io
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from dmaelab.utils.errors import UserError
from dmaelab.utils.machine import machine_faults

_TEMPORARY = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.tmp")  # the names that atomic_write gives


def atomic_write(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Call ``write(file)`` on a temporary file beside ``path``, sync it, then rename it over ``path``.

    If ``write`` or the disk fails, an old file at ``path`` stays unchanged and the temporary file is removed. A new
    file gets the permissions of the old one, if there is one. Symbolic links are followed: the file that they name is
    replaced, and the links stay.

    What is no regular file is never replaced. A pipe, a terminal, or the file to which this process prints gets the
    whole content at once.

    Raises:
        UserError: ``path`` is a folder, a disk or a socket, or a pipe that nobody reads.
        MachineError: the machine failed, for example because the disk is full.
    """
    with machine_faults(path=path):
        _write(Path(path), write)


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    there = _status(path)
    stream = None if there is None else _stream(path, there)
    if stream is not None:
        content = io.BytesIO()
        with os.fdopen(stream, "wb") as file:
            write(content)
            file.write(content.getvalue())
        return
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask() if there is None else stat.S_IMODE(there.st_mode))
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def remove_leftovers(folder: Path, names: str) -> None:
    """Delete the temporary files that killed calls of :func:`atomic_write` have left in a folder.

    The caller must make sure that no process is writing these files now.

    Args:
        folder: the folder; it need not exist.
        names: regular expression of the names of the files that were to be written.
    """
    for path in folder.glob(".*.tmp"):
        written = _TEMPORARY.fullmatch(path.name)
        if written and re.fullmatch(names, written[1]) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def is_still_there(descriptor: int, path: str | os.PathLike[str]) -> bool:
    """Return whether ``path`` still names the file or folder that is open, and was not removed or replaced."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False


def _status(path: Path) -> os.stat_result | None:
    """Return what is at a path, following symbolic links; None if nothing is there."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _stream(path: Path, there: os.stat_result) -> int | None:
    """Return a descriptor to write to if ``path`` is no regular file, else None; errors as of :func:`atomic_write`."""
    if stat.S_ISDIR(there.st_mode):
        raise UserError(f"{path} is a folder: name a file")
    if stat.S_ISBLK(there.st_mode) or stat.S_ISSOCK(there.st_mode):
        kind = "disk" if stat.S_ISBLK(there.st_mode) else "socket"
        raise UserError(f"{path} is a {kind}, and no file can be written over it: name a file")
    own = _own_output(there)
    if own is not None:
        sys.stdout.flush()  # what was printed before must also stand before
        return os.dup(own)
    if stat.S_ISREG(there.st_mode):
        return None
    try:
        # Without O_NONBLOCK a pipe that nobody reads would block for ever.
        handle = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise UserError(f"{path} is a pipe that nobody reads: start the reader first, or name a file") from None
        raise
    os.set_blocking(handle, True)
    return handle


def _own_output(there: os.stat_result) -> int | None:
    """Return the descriptor by which this process prints to that file, None if it does not.

    If the file were replaced, what is printed later would be lost.
    """
    for descriptor in (1, 2):
        try:
            if os.path.samestat(there, os.fstat(descriptor)):
                return descriptor
        except OSError:  # the descriptor is closed
            continue
    return None


def remove_folder(path: Path) -> None:
    """Delete a folder and everything in it; ``UserError`` if it is a symbolic link."""
    refuse_link(path)
    shutil.rmtree(path)


def refuse_link(path: Path) -> None:
    """Raise ``UserError`` if a folder that is to be deleted is a symbolic link: others may use what it names."""
    if path.is_symlink():
        raise UserError(f"{path} is a symbolic link and is not deleted: remove the link, or the folder that it names")


def file_hash(path: str | os.PathLike[str]) -> str:
    """Return the blake2b hash (32 hex digits) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    atomic_write(path, lambda file: file.write(text.encode()))


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON, atomically; keys keep their order."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
