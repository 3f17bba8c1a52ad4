"""A training whose folder was removed or replaced writes nothing more, whatever it would write next."""

import shutil

import pytest

from dmaelab.engine.defaults import DefaultTrainer
from dmaelab.engine.hooks.base import Hook
from dmaelab.engine.training import run_training
from dmaelab.utils.errors import UserError


class Remove(Hook):
    """Removes or replaces the run directory after a step, or after the last one."""

    def __init__(self, folder, when, replace):
        self.folder, self.when, self.replace = folder, when, replace

    def after_step(self):
        if self.trainer.step == self.when:
            self.remove()

    def after_train(self):
        if self.when == "end":
            self.remove()

    def remove(self):
        shutil.rmtree(self.folder)
        if self.replace:
            self.folder.mkdir()


@pytest.mark.parametrize("replace", [False, True], ids=["removed", "replaced"])
@pytest.mark.parametrize(
    ("when", "written"),
    [
        (2, "train.checkpoint_period=2"),
        (2, "train.milestones={'early': 2}"),
        (2, "train.eval_period=2"),
        (2, "train.log_period=2"),
        (8, "train.checkpoint_period=0"),
        ("end", "train.checkpoint_period=0"),
    ],
)
def test_nothing_is_written(pretrain_config, tmp_path, monkeypatch, when, written, replace):
    out = tmp_path / "pretrain"
    monkeypatch.setattr(DefaultTrainer, "build_own_hooks", lambda self: [Remove(out, when, replace)])
    with pytest.raises(UserError, match=f"^{out} was removed or replaced during the training, so nothing more is"):
        run_training(pretrain_config("train.log_period=100", written))
    assert list(tmp_path.rglob("*")) == [out] * replace
