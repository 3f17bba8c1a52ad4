"""Stops a training whose folder was removed."""

import os
from pathlib import Path

from dmaelab.engine.hooks.base import Hook
from dmaelab.utils.distributed import is_main
from dmaelab.utils.errors import UserError
from dmaelab.utils.files import is_still_there


class FolderGuard(Hook):
    """Stops the training if its run directory was removed or replaced. It must run before the hooks that write.

    Otherwise they would make the folder again, without its config, or write into the run of another process.

    Args:
        path: the run directory. The first process creates it if it does not exist, and keeps it open.
        period: steps between two looks. It also looks if other hooks have reported values, which are then written.
    """

    def __init__(self, path: Path, period: int) -> None:
        self.path, self.period = path, period
        self._open: int | None = None

    def before_train(self) -> None:
        """Open the folder."""
        if is_main():
            self.path.mkdir(parents=True, exist_ok=True)
            self._open = os.open(self.path, os.O_RDONLY)

    def after_step(self) -> None:
        """Look if a record is written now."""
        if self.trainer.step % self.period == 0 or self.trainer.pending:
            self.check()

    def check(self) -> None:
        """Raise ``UserError`` if the folder is no longer the one that was opened."""
        if self._open is not None and not is_still_there(self._open, self.path):
            raise UserError(
                f"{self.path} was removed or replaced during the training, so nothing more is saved: start it again, or"
                " choose another train.out_dir"
            )

    def close(self) -> None:
        """Close the folder."""
        if self._open is not None:
            os.close(self._open)
            self._open = None
