"""Earlier results that are to be replaced: they are moved aside, and deleted only when the new work is accepted."""

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dmaelab.utils.files import refuse_link, remove_folder
from dmaelab.utils.signals import held_back

logger = logging.getLogger("dmaelab")


@contextmanager
def moved_aside(folders: Mapping[Path, Callable[[], None]]) -> Iterator[Callable[[], None]]:
    """Move folders aside in the block, and yield a function that deletes them.

    They are also deleted when the block succeeds. If it fails before, they are brought back; where somebody has made
    the folder again meanwhile, they stay aside.

    Args:
        folders: folder -> function that raises ``UserError`` if the folder must not be deleted. Those that do not exist
            are left out, also if they have moved with a folder above them.

    Raises:
        UserError: a folder must not be deleted.
    """
    moved: list[Path] = []

    def delete() -> None:
        for folder in moved:
            logger.info("deleting the earlier %s", folder)
            gone = folder.with_name(f".{folder.name}.deleted")  # what is half deleted must not come back
            shutil.rmtree(gone, ignore_errors=True)
            _aside_of(folder).rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        moved.clear()

    try:
        for folder, check in folders.items():
            if not folder.exists():
                continue
            refuse_link(folder)
            check()
            if _aside_of(folder).exists():  # its place was taken by a later one, which is now to be replaced, too
                remove_folder(_aside_of(folder))
            with held_back():
                folder.rename(_aside_of(folder))
                moved.append(folder)
        yield delete
        delete()
    finally:
        bring_back(folders)


def bring_back(folders: Iterable[Path]) -> None:
    """Bring back folders that :func:`moved_aside` could not delete, also those of a process that was killed."""
    for folder in folders:
        aside = _aside_of(folder)
        if not aside.exists():
            continue
        if folder.exists():
            logger.warning("the earlier results of %s are in %s", folder, aside)
        else:
            logger.info("bringing back %s", folder)
            aside.rename(folder)


def _aside_of(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.aside")
