"""Jobs: a training, an evaluation or a certification, described by plain data that any process can run."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from omegaconf import DictConfig, OmegaConf

from dmaelab.config import load_plugins
from dmaelab.engine.certification import Certification
from dmaelab.engine.training import run_evaluation, run_training
from dmaelab.launch.process_group import process_group
from dmaelab.utils.cli import preempted_by_signals, run_main


@dataclass(frozen=True)
class Job(ABC):
    """Work that one process, or several together, can do.

    A job holds only text, numbers and booleans, so that a launcher can pickle it and send it to a new process on this
    or another machine. There are three ways to run it:

    * ``job.run()``, in a process that has other work to do afterwards: errors are raised;
    * ``job()``, in a process that was started for this job: an error prints one line and sets the exit status;
    * ``job.work()``, in a process whose parent handles signals and ends it.

    Attributes:
        config: the whole config, as YAML.
    """

    config: str

    @classmethod
    def of(cls, cfg: DictConfig, **options: Any) -> Self:
        """Return a job for a config; ``options`` are the other attributes of the class."""
        return cls(OmegaConf.to_yaml(cfg), **options)

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
        load_plugins(cfg)
        return cfg

    def run(self) -> None:
        """Do the work in this process.

        Raises:
            UserError: bad input; the text is one line.
            Preempted: a signal asked to stop, and finished work is saved.
        """
        self.work()

    def __call__(self) -> None:
        """Do the work in a process that was started for it; return if it succeeds.

        Raises:
            SystemExit: the job failed. :func:`~dmaelab.utils.cli.run_main` has printed one line. The status is 2 for
                bad input, 75 if a signal stopped the job, and 130 after Ctrl-C.
        """
        try:
            run_main(self.run)
        except SystemExit as end:
            if end.code != 0:  # after success, return to the launcher instead of ending the process
                raise

    @abstractmethod
    def work(self) -> None:
        """Do the work without installing signal handlers, except those of the training loop; raises ``UserError``."""


@dataclass(frozen=True)
class TrainJob(Job):
    """Train as a config says. Several processes that run the same job form one process group.

    Attributes:
        resume: continue the run in ``train.out_dir``, if there is one.
    """

    resume: bool = False

    def work(self) -> None:
        """Train. If the environment describes a process group (``RANK``, ``WORLD_SIZE``), join it.

        The training loop handles SIGTERM, SIGUSR2 and SIGHUP itself: it saves its state and raises ``Preempted``.
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
        """Certify. On SIGTERM, SIGUSR2 or SIGHUP it raises ``Preempted``; the finished rows are in the log."""
        with preempted_by_signals(self.STOPPED):
            self.work()

    def work(self) -> None:
        """Certify the images of the shard."""
        self.certification().run(self.shard, self.progress)
