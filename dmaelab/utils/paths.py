"""Where files live: one path manager, and the rule that finds the root of a data set."""

import os
from pathlib import Path

from iopath.common.file_io import PathManager

from dmaelab.utils.errors import UserError

PATHS = PathManager()
"""The path manager of data sets and weight files. A plug-in that stores them elsewhere registers its handler here."""


def local_path(path: str | os.PathLike) -> Path:
    """Return ``path`` as a path on this machine, fetched by its handler if it has a registered scheme.

    Raises:
        UserError: for a scheme that nobody registered. iopath would take ``s3://x`` for a local file.
    """
    local = PATHS.get_local_path(os.fspath(path))
    if "://" in local:
        scheme = local.split("://")[0]
        raise UserError(
            f"{path}: nobody registered {scheme}://; give a local path or register a handler with"
            " dmaelab.utils.paths.PATHS"
        )
    return Path(local).expanduser()


def data_root(name: str, root: str | os.PathLike | None = None, create: bool = False) -> Path:
    """Return the readable folder that holds the data set ``name``.

    Without ``root`` it is ``$DMAELAB_DATA/<name>``. A relative ``root`` is looked up in the working
    directory, then below ``$DMAELAB_DATA``. With ``create`` a missing folder is made (for a download).

    Raises:
        UserError: when no place is given, or the folder is missing or cannot be read.
    """
    base = os.environ.get("DMAELAB_DATA")
    if root is None and not base:
        raise UserError(
            f"data set '{name}': where is it? Set its root, or $DMAELAB_DATA to the folder that holds '{name}'"
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
            os.listdir(folder)  # the question is whether it can be read, not what its mode bits say
    except OSError as error:
        raise UserError(f"data set '{name}': cannot read its root {folder} ({error.strerror})") from error
    if folder is None:
        tried = " nor ".join(map(str, places))
        raise UserError(
            f"data set '{name}': there is no folder {tried}; set its root, or $DMAELAB_DATA to the folder that holds it"
        )
    return folder
