"""Hooks and trainers that a config names, and what is given back at the end of a training, however it ends."""

import json
import logging
import signal

import pytest
import torch
from torch import nn

from dmaelab.engine import DefaultTrainer, Hook, run_evaluation, run_training
from dmaelab.engine.hooks import CheckpointHook, EvalHook, LogHook
from dmaelab.engine.training import check_training, trainer_of
from dmaelab.engine.writers import TensorBoardWriter
from dmaelab.utils.distributed import with_synchronised_batch_norms
from dmaelab.utils.errors import ConfigError, Preempted, UserError
from dmaelab.utils.signals import STOP
from dmaelab.weights.files import FACTS


class Count(Hook):
    """Counts steps, in the records and across resumes."""

    def __init__(self, by: int = 1) -> None:
        self.by, self.total = by, 0

    def after_step(self):
        self.total += self.by
        self.trainer.pending["counted"] = self.total

    def state_dict(self):
        return {"total": self.total}

    def load_state_dict(self, state):
        self.total = state["total"]


class Fail(Hook):
    """Raises an error at one moment of the training."""

    def __init__(self, moment: str, error: str = "UserError") -> None:
        setattr(self, moment, self._fail)
        self.error = {"UserError": UserError, "KeyError": KeyError, "KeyboardInterrupt": KeyboardInterrupt}[error]

    def _fail(self):
        raise self.error("as asked for")


class Spoil(Hook):
    """Makes the weights no numbers."""

    def after_step(self):
        with torch.no_grad():
            next(self.trainer.inner.parameters()).fill_(float("nan"))


class TwiceTrainer(DefaultTrainer):
    """Takes two steps for each that is asked for."""

    def run_step(self):
        super().run_step()
        super().run_step()


class NoTrainer:
    """Something else."""


def hook(name, **options):
    return {"_target_": f"{__name__}.{name}", **options}


def with_hooks(cfg, *nodes):
    cfg.hooks = list(nodes)
    return cfg


def test_a_hook_of_the_config_runs_before_records_and_checkpoints(finetune_config, tmp_path):
    cfg = with_hooks(finetune_config("train.max_iter=4", "train.checkpoint_period=2"), hook("Count", by=10))
    kinds = [type(one) for one in DefaultTrainer(cfg).hooks]
    assert kinds.index(EvalHook) < kinds.index(Count) < kinds.index(LogHook) < kinds.index(CheckpointHook)
    run_training(cfg)
    record = json.loads((tmp_path / "rs/metrics.jsonl").read_text().splitlines()[-1])
    assert (record["step"], record["counted"]) == (4, 40)
    (tmp_path / "rs/model_final.pth").unlink()
    (tmp_path / "rs/checkpoints/step_0000004.pth").unlink()
    run_training(cfg, resume=True)
    assert json.loads((tmp_path / "rs/metrics.jsonl").read_text().splitlines()[-1])["counted"] == 40


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ([{"_target_": "torch.nn.Identity"}], r"hooks\.0: builds a Identity, not a dmaelab\.engine\.Hook"),
        ([hook("NoTrainer")], r"hooks\.0\._target_: the class '.*NoTrainer' may be called by a Python config only"),
        ([hook("Count", by="many")], r"hooks\.0\.by: .*expects int"),
        ([hook("Counts")], r"hooks\.0.*has no 'Counts'"),
        ("Count", r"hooks: give a list of nodes"),
        ([hook("Count"), hook("Count", by=2)], r"hooks: two are called Count; override `name` in one of them"),
        ({"_target_": f"{__name__}.Count"}, r"hooks: give a list of nodes"),
    ],
)
def test_what_is_no_hook_is_refused_by_its_place(finetune_config, hooks, message):
    cfg = finetune_config()
    cfg.hooks = hooks
    with pytest.raises(ConfigError, match=message):
        run_training(cfg)


SYNCHRONISED = ["train.sync_batchnorm=True", "model.classifier.head=bn_linear", "train.max_iter=2"]


def test_only_several_processes_share_their_batch_statistics(finetune_config, monkeypatch):
    monkeypatch.setattr("dmaelab.engine.defaults.DistributedDataParallel", lambda model, device_ids: model)
    for processes, value, expected in (
        (1, True, nn.BatchNorm1d), (2, True, nn.SyncBatchNorm), (2, False, nn.BatchNorm1d)
    ):  # fmt: skip
        trainer = DefaultTrainer(finetune_config(*SYNCHRONISED, f"train.sync_batchnorm={value}"))
        with monkeypatch.context() as patch:
            patch.setattr("dmaelab.engine.defaults.world_size", lambda processes=processes: processes)
            model = trainer.wrap(trainer.build_model(), trainer.device)
        assert type(model.export().head[0]) is expected


@pytest.mark.parametrize("average", [None, 0.5])
def test_what_was_trained_with_shared_statistics_is_an_ordinary_model(finetune_config, tmp_path, monkeypatch, average):
    """Saved, averaged, resumed, evaluated and read again. A process alone computes the same as without."""
    settings = [*SYNCHRONISED, f"train.ema_decay={average}", "train.checkpoint_period=1"]
    expected = run_training(finetune_config(*settings, out="ordinary"))
    with monkeypatch.context() as patch:
        patch.setattr(DefaultTrainer, "wrap", lambda _, model, device: with_synchronised_batch_norms(model))
        trainer = DefaultTrainer(finetune_config(*settings))
        assert type(trainer.final_model.export().head[0]) is nn.SyncBatchNorm
        assert run_training(finetune_config(*settings)) == expected
        (tmp_path / "rs/checkpoints/step_0000002.pth").unlink()
        (tmp_path / "rs/model_final.pth").unlink()
        assert run_training(finetune_config(*settings), resume=True) == expected
    assert run_evaluation(finetune_config(*settings)) == pytest.approx(expected, abs=1e-6)
    one, other = (torch.load(tmp_path / out / "model_final.pth", weights_only=True) for out in ("ordinary", "rs"))
    assert one[FACTS] == other[FACTS]
    assert list(one["model"]) == list(other["model"])
    assert all(torch.equal(other["model"][name], value) for name, value in one["model"].items())


def test_processes_on_the_cpu_cannot_share_their_batch_statistics(finetune_config, tmp_path, monkeypatch):
    monkeypatch.setattr("dmaelab.engine.training.world_size", lambda: 2)
    with pytest.raises(ConfigError, match=r"^train\.sync_batchnorm: 2 processes on the CPU cannot share batch stat"):
        run_training(finetune_config(*SYNCHRONISED))
    assert not (tmp_path / "rs").exists()


def test_a_trainer_of_the_config(finetune_config):
    cfg = finetune_config("train.max_iter=2")
    assert trainer_of(cfg) is DefaultTrainer
    cfg.trainer = f"{__name__}.TwiceTrainer"
    assert trainer_of(cfg) is TwiceTrainer
    run_training(cfg)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"{__name__}.NoTrainer", r"trainer: .*NoTrainer is not a subclass of dmaelab\.engine\.DefaultTrainer"),
        (f"{__name__}.Twice", r"trainer: .*has no 'Twice'"),
        ("nowhere.Trainer", r"trainer: no module named 'nowhere'"),
        (3, r"trainer: give the dotted name of a subclass of DefaultTrainer, not 3"),
    ],
)
def test_what_is_no_trainer_is_refused_in_the_check(finetune_config, name, message):
    cfg = finetune_config()
    cfg.trainer = name
    with pytest.raises(ConfigError, match=message):
        check_training(cfg)


ENDS = {
    "nan": ([hook("Spoil")], UserError),
    "data": ([hook("Fail", moment="before_step")], UserError),
    "defect": ([hook("Fail", moment="after_step", error="KeyError")], KeyError),
    "beginning": ([hook("Fail", moment="before_train")], UserError),
    "ctrl-c": ([hook("Fail", moment="after_step", error="KeyboardInterrupt")], KeyboardInterrupt),
    "closing": ([hook("Fail", moment="close")], UserError),
    "preempted": ([{"_target_": "signalling.Signal", "step": 2, "name": "SIGUSR2"}], Preempted),
    "hang-up": ([{"_target_": "signalling.Signal", "step": 2, "name": "SIGHUP"}], Preempted),
    "well": ([], None),
}


@pytest.mark.parametrize("end", ENDS)
def test_signals_and_writers_are_given_back_whatever_happens(finetune_config, monkeypatch, end):
    nodes, error = ENDS[end]
    closed = []
    monkeypatch.setattr(TensorBoardWriter, "close", lambda writer: closed.append(writer))
    before = [signal.getsignal(number) for number in STOP]
    trainer = DefaultTrainer(with_hooks(finetune_config("train.tensorboard=True"), *nodes))
    if error is None:
        trainer.train()
    else:
        with pytest.raises(error):
            trainer.train()
    assert [signal.getsignal(number) for number in STOP] == before
    assert len(closed) == 1


def test_a_signal_that_is_ignored_stays_ignored(finetune_config):
    """As under nohup: the run goes on when its terminal closes."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run_training(with_hooks(finetune_config(), {"_target_": "signalling.Signal", "step": 2, "name": "SIGHUP"}))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_error_that_ended_a_training_is_the_one_that_is_reported(finetune_config, caplog):
    """A hook that fails while it is closed changes neither the error nor, for a preemption, the exit status."""
    nodes = [{"_target_": "signalling.Signal", "step": 2, "name": "SIGUSR2"}, hook("Fail", moment="close")]
    trainer = DefaultTrainer(with_hooks(finetune_config(), *nodes))
    logging.getLogger("dmaelab").propagate = True
    with pytest.raises(Preempted), caplog.at_level(logging.WARNING):
        trainer.train()
    assert "closing a hook failed, too: UserError: as asked for" in caplog.messages
