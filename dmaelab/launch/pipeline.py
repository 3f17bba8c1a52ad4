"""Pipelines: a chain of stages (pre-train, fine-tune, certify) that can be restarted at any stage."""

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from dmaelab.config import check
from dmaelab.config.plain import interpolated
from dmaelab.engine.certification import open_certification
from dmaelab.engine.inherited_labels import other_labels
from dmaelab.engine.run_dir import RunDirectory, weights_of
from dmaelab.launch.checks import check_plan
from dmaelab.launch.job import CertifyJob, TrainJob
from dmaelab.launch.launcher import Launcher, choose_launcher
from dmaelab.launch.plan import Plan
from dmaelab.launch.stages import PipelineSettings, Stage, dependents, read_stages, repeated
from dmaelab.records.folders import remove_log
from dmaelab.utils.errors import ConfigError, did_you_mean
from dmaelab.utils.files import file_hash

logger = logging.getLogger("dmaelab")


class Pipeline:
    """A chain of stages that can be run. The whole chain is checked when the object is created.

    Args:
        cfg: a config with the sections ``pipeline`` and ``stages``.
        debug: make a trial that takes seconds. Every stage is run with the overrides ``debug`` of its config, in this
            process and without ``pipeline.weights``. The results are written to ``<out_dir>/debug``. Those of an
            earlier trial are deleted first.
        launcher: starts the stages: an object, or a name for :func:`~dmaelab.launch.launcher.choose_launcher`, which
            gets the number of processes in ``pipeline.processes``.

    Attributes:
        plan: the stages with their folders and configs, including the copies for further seeds.

    Raises:
        ConfigError: something is wrong; the text names the stage and the problem.
    """

    def __init__(self, cfg: DictConfig, debug: bool = False, launcher: Launcher | str = "none") -> None:
        check(cfg, sections={"pipeline": PipelineSettings}, plain_sections=["stages"])
        settings = PipelineSettings(**interpolated(cfg.pipeline))
        stages = read_stages(interpolated(cfg.get("stages")) or [])
        check_plan(Plan(settings, stages, debug))
        self.plan = Plan(settings, repeated(stages, settings.seeds), debug)
        if isinstance(launcher, str):
            launcher = choose_launcher(1 if debug else settings.processes, launcher)
        self.launcher = launcher

    def run(self, restart_at: str | None = None) -> None:
        """Run the stages in order. Finished stages are skipped, and an interrupted stage continues.

        Args:
            restart_at: name of a stage. Its results, and those of all stages that depend on it, are deleted first.

        Raises:
            UserError: a stage failed, or existing results of it come from another config or from other weights.
            MachineError: the machine failed in a stage; the same call continues.
            Preempted: a signal stopped the pipeline; the same call continues.
        """
        if self.plan.debug:
            self._remove(self.plan.stages)
        if restart_at is not None:
            self.discard(restart_at)
        for number, stage in enumerate(self.plan.stages, 1):
            logger.info("stage %d of %d: %s", number, len(self.plan.stages), stage.name)
            self.run_stage(stage)

    def run_stage(self, stage: Stage) -> None:
        """Run one stage, unless it is finished. It raises the same errors as :meth:`run`."""
        if stage.certify is None:
            self._train(stage)
        else:
            found = open_certification(stage.config, self.plan.certification_overrides(stage))
            self.launcher.launch(CertifyJob.of(found.cfg))

    def discard(self, name: str) -> None:
        """Delete the results of a stage and of all stages that depend on it.

        Raises:
            ConfigError: there is no such stage, or ``pipeline.weights`` replaces it.
        """
        names = [stage.name for stage in self.plan.stages]
        if name not in names:
            raise ConfigError(f"there is no stage '{name}'{did_you_mean(name, names)}; there are: {', '.join(names)}")
        if name in self.plan.weights:
            raise ConfigError(f"--from {name}: pipeline.weights.{name} replaces this stage, so it cannot be redone")
        self._remove(dependents(name, self.plan.stages))

    def _remove(self, stages: Sequence[Stage]) -> None:
        """Delete what the stages have written; ``UserError`` if a folder holds something else."""
        for stage in stages:
            folder = self.plan.folder_of(stage)
            if folder.exists() and stage.name not in self.plan.weights:
                logger.info("removing %s", folder)
                if stage.certify is None:
                    RunDirectory(folder).remove()
                else:
                    remove_log(folder)

    def _train(self, stage: Stage) -> None:
        if stage.name in self.plan.weights:
            logger.info("not run: replaced by %s", self.plan.weights[stage.name])
            return
        cfg, run = self.plan.training_config(stage), RunDirectory(self.plan.folder_of(stage))
        if run.begun:
            _check_begun(stage, cfg, run)
        if not run.finished:
            self.launcher.launch(TrainJob.of(cfg, resume=True))


def _check_begun(stage: Stage, cfg: DictConfig, run: RunDirectory) -> None:
    """Refuse an existing run of this stage if it has another config, or began from other weights."""
    redo = f"redo it, and the stages that need it, with --from {stage.name}"
    began, source = run.initial_weights(), cfg.train.get("init_from")
    changed = run.changes(cfg)
    known = began is not None and source is not None and Path(source).exists()
    if known:  # compare the content of the initial weights below, not their path
        changed = [change for change in changed if change.key != "train.init_from"]
    if changed:
        raise ConfigError(
            f"stage '{stage.name}' was run with another config ({changed[0].between('there', 'now')}): {redo}"
        )
    for label in other_labels(run, cfg):
        logger.warning(
            "stage '%s' was run with another label (%s), which tables use: correct it with --label",
            stage.name,
            label.between("there", "now"),
        )
    if known:
        file = weights_of(source)
        if file_hash(file) != began:
            raise ConfigError(f"stage '{stage.name}' began with other weights than {file} has now: {redo}")
