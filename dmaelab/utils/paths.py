"""Paths: the path manager for remote files, the root folder of a data set, and names that become folders."""

import os
from pathlib import Path

from iopath.common.file_io import PathManager

from dmaelab.utils.errors import ConfigError, UserError
from dmaelab.utils.machine import machine_error

PATHS = PathManager()
"""The path manager of data sets and weight files. A plug-in can register a handler for another storage here."""

_LONGEST = 200  # bytes of a name; file systems allow 255, and seeds, suffixes and temporary names are added


def local_path(path: str | os.PathLike[str]) -> Path:
    """Return ``path`` as a local path; if its scheme has a registered handler, the handler fetches it first.

    Raises:
        UserError: the scheme has no handler. (iopath alone would treat ``s3://x`` as a local file.)
    """
    local = PATHS.get_local_path(os.fspath(path))
    if "://" in local:
        scheme = local.split("://")[0]
        raise UserError(
            f"{path}: no handler is registered for {scheme}://; give a local path or register a handler with"
            " dmaelab.utils.paths.PATHS"
        )
    return Path(local).expanduser()


def data_root(name: str, root: str | os.PathLike[str] | None = None, create: bool = False) -> Path:
    """Return the folder of the data set ``name``, after checking that it can be read.

    Without ``root`` it is ``$DMAELAB_DATA/<name>``. A relative ``root`` is looked up in the working
    directory, then below ``$DMAELAB_DATA``. With ``create`` a missing folder is created (for a download).

    Raises:
        UserError: neither ``root`` nor ``$DMAELAB_DATA`` is set, or the folder is missing or cannot be read.
    """
    base = os.environ.get("DMAELAB_DATA")
    if root is None and not base:
        raise UserError(
            f"data set '{name}': no folder is given; set its root, or $DMAELAB_DATA to the folder that holds '{name}'"
        )
    places = [] if root is None else [local_path(root)]
    if base and (root is None or not places[0].is_absolute()):
        places.append(local_path(base) / (name if root is None else root))
    folder = next((place for place in places if place.exists()), None)
    try:
        if folder is None and create:
            folder = places[0]
            folder.mkdir(parents=True)
        if folder is not None:
            os.listdir(folder)  # try to read it: mode bits alone do not tell
    except OSError as error:
        reason = UserError(f"data set '{name}': cannot read its root {folder} ({error.strerror})")
        raise machine_error(error, path=folder) or reason from error
    if folder is None:
        tried = " or ".join(map(str, places))
        raise UserError(
            f"data set '{name}': there is no folder {tried}; set its root, or $DMAELAB_DATA to the folder that holds it"
        )
    return folder


def root_at_hand(name: str, root: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the folder of :func:`data_root` if it is on this machine, else None; no handler fetches anything."""
    if any("://" in os.fspath(place) for place in (root or "", os.environ.get("DMAELAB_DATA", ""))):
        return None
    try:
        return data_root(name, root)
    except UserError:
        return None


def check_name(key: str, name: str) -> None:
    """Refuse a name that is not the plain name of one folder or file, because it would lead to another place.

    Every name in a config that becomes a folder or a file is checked here.

    Args:
        key: where the name comes from, for the message.
        name: the name.

    Raises:
        ConfigError: it is empty, a path, hidden, longer than 200 bytes, or holds control characters or ``${``.
    """
    bad = (
        not isinstance(name, str)
        or not name.strip()
        or name != name.strip()
        or name.startswith((".", "-", "~"))
        or any(mark in name for mark in ("/", "\\", "${"))
        or not name.isprintable()
        or len(os.fsencode(name)) > _LONGEST
    )
    if bad:
        raise ConfigError(
            f"{key} is {name!r}: give a plain name for a folder, without a path, spaces at its ends or a leading dot"
        )
