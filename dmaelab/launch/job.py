"""Jobs: a training, an evaluation or a certification, described by plain data that any process can run."""

import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from omegaconf import DictConfig, OmegaConf

from dmaelab.analysis.tables import default_label, make_table
from dmaelab.config import load_plugins, trust_plugins
from dmaelab.config.check import check_targets, trust_targets
from dmaelab.config.imports import distrust, foreign_folders
from dmaelab.config.plain import interpolated
from dmaelab.config.trust import trusted_modules
from dmaelab.engine.certification import Certification
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.settings import TrainSettings
from dmaelab.engine.training import check_training, run_evaluation, run_training
from dmaelab.launch.process_group import process_group
from dmaelab.records.folders import read_folders
from dmaelab.records.readers import read_log
from dmaelab.smoothing.runner import check_shard
from dmaelab.utils.cli import exit_status
from dmaelab.utils.errors import UserError
from dmaelab.utils.signals import preempted_by_signals

Spread = Literal["group", "parts", "one"]
"""How several processes can do a job: as one process group, as independent parts, or not at all."""


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
        kind: what it is, in a word.
        spread: how several processes do it.
    """

    kind: ClassVar[str]
    spread: ClassVar[Spread]

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

    def section(self, name: str) -> dict[str, Any]:
        """Return a section of plain values of the config; empty if there is none."""
        cfg: Any = OmegaConf.create(self.config)
        return interpolated(cfg.get(name)) or {}

    @property
    def device(self) -> str:
        """What the config says about the device, such as ``"auto"``; ``"cpu"`` for a job that needs none."""
        for name in ("train", "certify"):
            if section := self.section(name):
                return str(section.get("device", "auto"))
        return "cpu"

    def part(self, number: int, count: int) -> Self:
        """Return the job of process ``number`` (from 0) of ``count`` processes that share this job.

        Processes that train or evaluate form one process group: each runs the whole job, with ``RANK``, ``WORLD_SIZE``,
        ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT`` set as torchrun sets them.
        """
        return self

    def restartable(self, grace: float = 0.0) -> Self:
        """Return the job for a launcher that may start it again after an interruption; it then continues.

        Args:
            grace: seconds that the scheduler gives between a signal and the end of the process.

        Raises:
            UserError: the folder of the job already holds something that it must not continue.
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
        allow_changes: continue it also with other settings than those that it was begun with.
        stage: name of the stage of a pipeline that this training is, else "". A finished stage is not done again.
        grace: seconds that a scheduler gives between a signal and the end; ``train.stop_grace`` is raised to it.
    """

    kind: ClassVar[str] = "training"
    spread: ClassVar[Spread] = "group"

    resume: bool = False
    allow_changes: bool = False
    stage: str = ""
    grace: float = 0.0

    def restartable(self, grace: float = 0.0) -> Self:
        """Return the job that continues its run; without ``resume`` an existing run is refused here already."""
        cfg = self.load_config()
        run = RunDirectory(check_training(cfg).out_dir)
        run.check_start(cfg, self.resume, self.allow_changes)
        source = cfg.train.get("init_from")
        # An earlier stage of a pipeline may make them.
        if source and not (self.stage or run.begun or "://" in source or Path(source).expanduser().exists()):
            raise UserError(f"train.init_from is '{source}', and there is no such run directory or file of weights")
        return replace(self, resume=True, grace=grace)

    def work(self) -> None:
        """Train. If the environment describes a process group (``RANK``, ``WORLD_SIZE``), join it.

        It handles SIGTERM, SIGUSR2, SIGHUP and Ctrl-C itself: it saves its state and raises ``Preempted``.
        """
        cfg = self.load_config()
        if self.stage:
            run = RunDirectory(check_training(cfg).out_dir)
            advice = f"redo it, and the stages that need it, with --from {self.stage}"
            run.check_start(cfg, self.resume, self.allow_changes, advice)  # an earlier stage may have changed meanwhile
            if run.finished:
                return
        if self.grace:
            cfg.train.stop_grace = max(self.grace, TrainSettings.of(cfg).stop_grace)
        with process_group():
            run_training(cfg, self.resume, self.allow_changes)


@dataclass(frozen=True)
class EvaluateJob(Job):
    """Evaluate the finished run in ``train.out_dir``. Several processes form one process group.

    Attributes:
        weights: ``"final"``, ``"best"``, or a checkpoint.
    """

    kind: ClassVar[str] = "evaluation"
    spread: ClassVar[Spread] = "group"

    weights: str = "final"

    def restartable(self, grace: float = 0.0) -> Self:
        """Return the job itself; ``UserError`` if there is no such run, or no such weights."""
        run = RunDirectory(check_training(self.load_config()).out_dir)
        if not run.begun or not run.weights(self.weights).is_file():
            raise UserError(f"{run} has no weights '{self.weights}' to evaluate")
        return self

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

    kind: ClassVar[str] = "certification"
    spread: ClassVar[Spread] = "parts"
    STOPPED: ClassVar[str] = "stopped by a signal; finished images are in the log: continue with the same command"

    shard: tuple[int, int] = (0, 1)
    progress: bool = True

    def __post_init__(self) -> None:
        check_shard(self.shard)

    def restartable(self, grace: float = 0.0) -> Self:
        """Return the same without a progress bar, which nobody sees; a certification always continues."""
        return replace(self, progress=False)

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


@dataclass(frozen=True)
class TableJob(Job):
    """Print the table of a certification, as far as its log is complete.

    Attributes:
        radii: columns of the table, in [0,1] pixel units; None takes those of the paper.
    """

    kind: ClassVar[str] = "report"
    spread: ClassVar[Spread] = "one"

    radii: tuple[float, ...] | None = None

    def work(self) -> None:
        """Read the log and print the table."""
        folder = Certification(self.load_config()).folder
        if not read_folders([folder]).rows:
            print(f"no images in this shard; log: {folder}")
            return
        log = read_log(folder)
        print(make_table([(default_label(log), log)], "text", self.radii, intervals=True))
        print(f"log: {folder}", flush=True)
