"""Jobs: a training, an evaluation or a certification, described by plain data that any process can run."""

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from omegaconf import DictConfig, OmegaConf

from dmaelab.config import load_plugins, trust_plugins
from dmaelab.config.check import check_targets, trust_targets
from dmaelab.config.imports import distrust, foreign_folders
from dmaelab.config.trust import trusted_modules
from dmaelab.engine.certification import Certification
from dmaelab.engine.training import run_evaluation, run_training
from dmaelab.launch.process_group import process_group
from dmaelab.utils.cli import exit_status
from dmaelab.utils.signals import preempted_by_signals


@dataclass(frozen=True)
class Job(ABC):
    """Work that one process, or several together, can do.

    A job holds only text, numbers and booleans, so that a launcher can pickle it and send it to a new process on this
    or another machine. There are two ways to run it:

    * ``job.run()``, in a process that has other work to do afterwards: errors are raised;
    * ``job()``, in a process that was started for this job: an error prints one line and sets the exit status.

    Attributes:
        config: the whole config, as YAML. What it calls was checked when the job was made, and is not checked again.
        plugins: the plug-ins that were trusted then. They are trusted wherever the job runs.
        foreign: the folders from which no modules were imported then, because only data was read from them.
    """

    config: str
    plugins: tuple[str, ...] = field(default=(), kw_only=True)
    foreign: tuple[str, ...] = field(default=(), kw_only=True)

    @classmethod
    def of(cls, cfg: DictConfig, **options: Any) -> Self:
        """Return a job for a config; ``options`` are the other attributes of the class.

        Raises:
            ConfigError: the config calls what it may not call.
        """
        check_targets(cfg)
        trust = {"plugins": trusted_modules(), "foreign": foreign_folders()}
        return cls(OmegaConf.to_yaml(cfg), **trust, **options)

    def part(self, number: int, count: int) -> Self:
        """Return the job of process ``number`` (from 0) of ``count`` processes that share this job.

        Processes that train or evaluate form one process group: each runs the whole job, with ``RANK``, ``WORLD_SIZE``,
        ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT`` set as torchrun sets them.
        """
        return self

    def load_config(self) -> DictConfig:
        """Import the plug-ins of the config, and return the config.

        Raises:
            ConfigError: a plug-in is missing or fails to import.
        """
        cfg: Any = OmegaConf.create(self.config)
        for folder in self.foreign:
            distrust(folder)
        trust_plugins(self.plugins)
        trust_targets(cfg)
        load_plugins(cfg)
        return cfg

    def run(self) -> None:
        """Do the work in this process.

        Raises:
            UserError: bad input; the text is one line.
            MachineError: the machine failed; the text is one line.
            Preempted: a signal asked to stop, and finished work is saved.
            KeyboardInterrupt: the same after Ctrl-C.
        """
        self.work()

    def __call__(self) -> None:
        """Do the work in a process that was started for it; return if it succeeds.

        Raises:
            SystemExit: the job failed. :func:`~dmaelab.utils.cli.exit_status` has printed one line. The status is 2 for
                bad input, 71 if the machine failed, 75 if a signal stopped the job, and 130 after Ctrl-C.
        """
        status = exit_status(self.run)
        if status != 0:
            sys.exit(status)

    @abstractmethod
    def work(self) -> None:
        """Do the work; raises the errors of :meth:`run`."""


@dataclass(frozen=True)
class TrainJob(Job):
    """Train as a config says. Several processes that run the same job form one process group.

    Attributes:
        resume: continue the run in ``train.out_dir``, if there is one.
    """

    resume: bool = False

    def work(self) -> None:
        """Train. If the environment describes a process group (``RANK``, ``WORLD_SIZE``), join it.

        It handles SIGTERM, SIGUSR2, SIGHUP and Ctrl-C itself: it saves its state and raises ``Preempted``.
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
    """Certify as a config says. Several processes each do one :meth:`part`, independently of each other.

    Attributes:
        shard: ``(i, N)``: certify the images at positions i, i + N, i + 2N, ... of the list of images.
        progress: draw a progress bar.
    """

    STOPPED: ClassVar[str] = "stopped by a signal; finished images are in the log: continue with the same command"

    shard: tuple[int, int] = (0, 1)
    progress: bool = True

    def certification(self) -> Certification:
        """Return the certification that the config describes; raises ``UserError`` if something is wrong with it."""
        return Certification(self.load_config())

    def part(self, number: int, count: int) -> Self:
        """Return the job that does every ``count``-th image of this one, from the image ``number`` on.

        It draws no progress bar; the launcher may draw one for all parts.
        """
        first, step = self.shard
        return replace(self, shard=(first + number * step, count * step), progress=False)

    def run(self) -> None:
        """Certify. On a signal it raises ``Preempted`` (or ``KeyboardInterrupt``); the finished rows are in the log."""
        with preempted_by_signals(self.STOPPED):
            self.work()

    def work(self) -> None:
        """Certify the images of the shard."""
        self.certification().run(self.shard, self.progress)
