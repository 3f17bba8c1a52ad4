"""Pipelines: a chain of stages (pre-train, fine-tune, certify) that can be restarted at any stage."""

import logging
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from dmaelab.config import check, config_path, open_config
from dmaelab.config.plain import interpolated
from dmaelab.engine import certification
from dmaelab.engine.inherited_labels import other_labels
from dmaelab.engine.run_dir import WEIGHTS_HASH, RunDirectory, weights_of
from dmaelab.engine.slurm_section import SlurmSettings
from dmaelab.launch.aside import bring_back, moved_aside
from dmaelab.launch.checks import check_plan
from dmaelab.launch.cluster.progress import is_finished
from dmaelab.launch.job import CertifyJob, Job, TrainJob
from dmaelab.launch.launcher import Launcher, choose_launcher, ready, start
from dmaelab.launch.plan import Plan
from dmaelab.launch.report import ReportJob
from dmaelab.launch.stages import REPORT, PipelineSettings, Stage, dependents, read_stages, repeated
from dmaelab.launch.work import Task, Work
from dmaelab.records.folders import check_removable
from dmaelab.utils.errors import ConfigError, did_you_mean

logger = logging.getLogger("dmaelab")

SECTIONS = {"pipeline": PipelineSettings, "slurm": SlurmSettings}


class Pipeline:
    """A chain of stages that can be run. The whole chain is checked when the object is created.

    Args:
        cfg: a config with the sections ``pipeline`` and ``stages``.
        debug: make a trial that takes seconds. Every stage is run with the overrides ``debug`` of its config, in this
            process and without ``pipeline.weights``. The results are written to ``<out_dir>/debug``. Those of an
            earlier trial are deleted first.
        launcher: starts the stages: an object, or a name for :func:`~dmaelab.launch.launcher.choose_launcher`, which
            gets the number of processes in ``pipeline.processes``.
        wait: wait for a launcher that would let the stages go on in the background.
        source: file or name of the config, for the records of such a launcher.

    Attributes:
        plan: the stages with their folders and configs, including the copies for further seeds.

    Raises:
        ConfigError: something is wrong; the text names the stage and the problem.
    """

    def __init__(
        self,
        cfg: DictConfig,
        debug: bool = False,
        launcher: Launcher | str = "none",
        wait: bool = False,
        source: str | None = None,
    ) -> None:
        check(cfg, sections=SECTIONS, plain_sections=["stages"])
        self.cfg, self.source = cfg, source
        settings = PipelineSettings(**interpolated(cfg.pipeline))
        stages = read_stages(interpolated(cfg.get("stages")) or [])
        check_plan(Plan(settings, stages, debug))
        self.plan = Plan(settings, repeated(stages, settings.seeds), debug)
        if isinstance(launcher, str):
            launcher = choose_launcher(1 if debug else settings.processes, launcher, wait)
        self.launcher = launcher

    def run(self, restart_at: str | None = None) -> str | None:
        """Run the stages in order, then print the report. Finished stages are skipped; an interrupted one continues.

        Args:
            restart_at: name of a stage. Its results, and those of all stages that depend on it, are deleted when the
                launcher has accepted the work.

        Returns:
            None when all is finished; a text to print if the stages go on in the background.

        Raises:
            UserError: a stage failed, or existing results of it come from another config or from other weights; or jobs
                of an earlier call still run.
            MachineError: the machine failed in a stage; the same call continues.
            Preempted: a signal stopped the pipeline; the same call continues.
        """
        ready(self.launcher, self.plan.out)
        bring_back(self.plan.folder_of(stage) for stage in self.plan.stages)
        discarded = self._discarded(restart_at)
        with moved_aside(self._removable(discarded)) as delete:
            return self.launcher.launch(replace(self.work(), accepted=delete))

    def rehearse(self, restart_at: str | None = None) -> None:
        """Print what :meth:`run` would delete, and what its launcher would start if it can say so; change nothing."""
        stages = self._discarded(restart_at)
        for stage in stages:
            if self.plan.folder_of(stage).exists():
                print(f"would delete {self.plan.folder_of(stage)}")
        start(self.launcher, self.work(redone=[stage.name for stage in stages]), dry_run=True)

    def work(self, redone: Collection[str] = ()) -> Work:
        """Return what is still to be done: a task for each stage that is not finished, and one for the report.

        Args:
            redone: names of stages whose results do not count.

        Raises:
            UserError: existing results of a stage come from another config or from other weights.
        """
        tasks: list[Task] = []
        for number, stage in enumerate(self.plan.stages, 1):
            announcement = f"stage {number} of {len(self.plan.stages)}: {stage.name}"
            earlier = [task.name for task in tasks]
            if stage.certify is not None:
                job: Job | None = self._certification(stage)
            else:
                job = self._training(stage, announcement, stage.source in earlier, stage.name in redone)
            if job is not None:
                task = self._task(stage, job, earlier, announcement)
                finished = stage.name not in redone and is_finished(job.kind, task.folder)
                tasks.append(replace(task, finished=finished))
        report = ReportJob.of(self.cfg, debug=self.plan.debug)
        names = tuple(task.name for task in tasks)
        tasks.append(
            Task(REPORT, report, self.plan.out / self.plan.settings.report, names, slurm=report.section("slurm"))
        )
        configs = [self.source, *(stage.config for stage in self.plan.stages)]
        sources = dict.fromkeys(config_path(config) for config in configs if config is not None)
        return Work(self.plan.out, tuple(tasks), tuple(sources))

    def _task(self, stage: Stage, job: Job, earlier: Sequence[str], announcement: str) -> Task:
        return Task(
            stage.name,
            job,
            self.plan.folder_of(stage),
            after=tuple(name for name in earlier if name == stage.source),
            series=re.sub(r"_seed\d+$", "", stage.name),
            slurm={**(interpolated(self.cfg.get("slurm")) or {}), **job.section("slurm")},
            announcement=announcement,
        )

    def _certification(self, stage: Stage) -> Job:
        cfg = open_config(stage.config, sections=certification.SECTIONS)
        trained = self.plan.trained_config(str(stage.certify))
        return CertifyJob.of(certification.complete(cfg, trained, self.plan.certification_overrides(stage)).cfg)

    def _training(self, stage: Stage, announcement: str, source_runs: bool, redone: bool) -> Job | None:
        """Return the job of a training; None if it is finished, or replaced by other weights.

        If the stage that it starts from runs now, a finished one gets a job, too: it checks that the weights are the
        same as those that it began with.
        """
        if stage.name in self.plan.weights:
            logger.info("%s: not run, because it is replaced by %s", announcement, self.plan.weights[stage.name])
            return None
        cfg, run = self.plan.training_config(stage), RunDirectory(self.plan.folder_of(stage))
        if run.begun and not redone:
            _check_begun(stage, cfg, run)
        if run.finished and not (source_runs or redone):
            logger.info("%s: finished before", announcement)
            return None
        return TrainJob.of(cfg, resume=True, stage=stage.name)

    def _discarded(self, name: str | None) -> list[Stage]:
        """Return a stage and all stages that depend on it; for a trial all stages.

        Raises:
            ConfigError: there is no such stage, or ``pipeline.weights`` replaces it.
        """
        if name is None:
            return list(self.plan.stages) if self.plan.debug else []
        names = [stage.name for stage in self.plan.stages]
        if name not in names:
            raise ConfigError(f"there is no stage '{name}'{did_you_mean(name, names)}; there are: {', '.join(names)}")
        if name in self.plan.weights:
            raise ConfigError(f"--from {name}: pipeline.weights.{name} replaces this stage, so it cannot be redone")
        chosen = self.plan.stages if self.plan.debug else dependents(name, self.plan.stages)
        return [stage for stage in chosen if stage.name not in self.plan.weights]

    def _removable(self, stages: Sequence[Stage]) -> dict[Path, Callable[[], None]]:
        """Return the folders of stages, with functions that raise ``UserError`` if they must not be deleted."""
        found: dict[Path, Callable[[], None]] = {}
        for stage in stages:
            folder = self.plan.folder_of(stage)
            run = stage.certify is None
            found[folder] = RunDirectory(folder).check_removable if run else partial(check_removable, folder)
        return found


def _check_begun(stage: Stage, cfg: DictConfig, run: RunDirectory) -> None:
    """Refuse an existing run of this stage if it has another config, or began from other weights."""
    redo = f"redo it, and the stages that need it, with --from {stage.name}"
    changed = run.changes(cfg)
    settings = [change for change in changed if change.key != WEIGHTS_HASH]
    if settings:
        raise ConfigError(
            f"stage '{stage.name}' was run with another config ({settings[0].between('there', 'now')}): {redo}"
        )
    for label in other_labels(run, cfg):
        logger.warning(
            "stage '%s' was run with another label (%s), which tables use: correct it with --label",
            stage.name,
            label.between("there", "now"),
        )
    if changed:
        file = weights_of(cfg.train.init_from)
        raise ConfigError(f"stage '{stage.name}' began with other weights than {file} has now: {redo}")
