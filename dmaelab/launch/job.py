"""What is to be done, as plain data: a training, an evaluation or a certification that any process can run."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from omegaconf import DictConfig, OmegaConf

from dmaelab.config import load_plugins
from dmaelab.engine.certification import Certification, run_certification
from dmaelab.engine.training import run_evaluation, run_training
from dmaelab.launch.distributed import process_group
from dmaelab.utils.cli import preempted_by_signals, run_main


@dataclass(frozen=True)
class Job(ABC):
    """Work that one process, or several together, can do.

    A job holds text, numbers and truth values only. So a launcher can pickle it and send it to a fresh process of
    this or another machine. There are three ways to run it:

    * :meth:`run`, in a process that has other things to do afterwards: errors are raised;
    * calling the job, in a process that was started for it: errors are one line and an exit status;
    * :meth:`work`, in a process whose parent handles the signals and ends it.

    Attributes:
        config: the whole config, as YAML.
    """

    config: str

    @classmethod
    def of(cls, cfg: DictConfig, **options: Any) -> Self:
        """Return the job of a config; ``options`` are the other attributes of the class."""
        return cls(OmegaConf.to_yaml(cfg), **options)

    def load_config(self) -> DictConfig:
        """Return the config, with its plug-ins imported.

        Raises:
            ConfigError: a plug-in is missing or fails to import.
        """
        cfg: Any = OmegaConf.create(self.config)
        load_plugins(cfg)
        return cfg

    def run(self) -> None:
        """Do the work in this process.

        Raises:
            UserError: bad input, in one line.
            Preempted: a signal asked to stop, and what is done is saved.
        """
        self.work()

    def __call__(self) -> None:
        """Do the work in a process that was started for it; return when all is well.

        Raises:
            SystemExit: with the status and after the one line of :func:`~dmaelab.utils.cli.run_main`: 2 for bad
                input, 75 when a signal stopped the job, 130 after Ctrl-C.
        """
        try:
            run_main(self.run)
        except SystemExit as end:
            if end.code != 0:  # a launcher may wait for the call to return
                raise

    @abstractmethod
    def work(self) -> None:
        """Do the work without handlers for signals, except those of the training loop; raises ``UserError``."""


@dataclass(frozen=True)
class TrainJob(Job):
    """Train as a config says. Several processes that run the same job form one process group.

    Attributes:
        resume: continue the run in ``train.out_dir`` where there is one.
    """

    resume: bool = False

    def work(self) -> None:
        """Train; where the environment describes a process group (``RANK``, ``WORLD_SIZE``), as one process of it.

        The training loop handles SIGTERM and SIGUSR2 itself: it saves its state and raises ``Preempted``.
        """
        cfg = self.load_config()
        with process_group():
            run_training(cfg, self.resume)


@dataclass(frozen=True)
class EvaluateJob(Job):
    """Evaluate the finished run in ``train.out_dir``. Several processes form one process group.

    Attributes:
        weights: ``"final"``, ``"best"``, or a checkpoint.
    """

    weights: str = "final"

    def work(self) -> None:
        """Evaluate, and log the result."""
        cfg = self.load_config()
        with process_group():
            run_evaluation(cfg, self.weights)


@dataclass(frozen=True)
class CertifyJob(Job):
    """Certify as a config says. Each of several processes does a :meth:`part`; they need nothing of each other.

    Attributes:
        shard: ``(i, N)``: certify positions i, i + N, ... of the list of images.
        progress: draw a bar.
    """

    STOPPED: ClassVar[str] = "stopped by a signal; finished images are in the log: continue with the same command"

    shard: tuple[int, int] = (0, 1)
    progress: bool = True

    @property
    def folder(self) -> Path:
        """The folder of the log."""
        return Certification(self.load_config()).folder

    def part(self, number: int, count: int) -> Self:
        """Return what process ``number`` of ``count`` does, without a bar: whoever starts all parts may draw one."""
        first, step = self.shard
        return replace(self, shard=(first + number * step, count * step), progress=False)

    def run(self) -> None:
        """Certify; the first SIGTERM, SIGUSR2 or SIGHUP raises ``Preempted``, and the rows so far are in the log."""
        with preempted_by_signals(self.STOPPED):
            self.work()

    def work(self) -> None:
        """Certify the images of the shard."""
        run_certification(self.load_config(), self.shard, self.progress)
