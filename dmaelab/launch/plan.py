"""The plan of a pipeline: its stages, the folder that each writes, and the config that each runs with."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from dmaelab.config import open_config
from dmaelab.engine import training
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.launch.stages import DEBUG, PipelineSettings, Stage
from dmaelab.utils.errors import ConfigError


class Plan:
    """The stages of a pipeline with their folders and configs. Nothing is run or checked here.

    Args:
        settings: the section ``pipeline``.
        stages: the stages, in the order in which they run.
        debug: plan a trial: every stage gets the overrides ``debug`` of its config, ``pipeline.weights`` is ignored,
            and everything is written below ``<out_dir>/debug``.

    Attributes:
        out: folder below which the stages write.
        weights: name of a training stage, or ``stage:milestone`` -> file or run directory that replaces it.
    """

    def __init__(self, settings: PipelineSettings, stages: Sequence[Stage], debug: bool = False) -> None:
        self.settings = settings
        self.stages = list(stages)
        self.debug = debug
        self.out = Path(settings.out_dir, *[DEBUG] * debug)
        self.weights = {name: Path(path) for name, path in settings.weights.items() if path is not None and not debug}
        self._opened: dict[str, DictConfig] = {}  # training configs by the name of the stage

    def trainings(self) -> list[str]:
        """Return the names of the training stages."""
        return [stage.name for stage in self.stages if stage.certify is None]

    def certifications(self) -> list[str]:
        """Return the names of the certification stages."""
        return [stage.name for stage in self.stages if stage.certify is not None]

    def logs(self) -> list[tuple[str, Path]]:
        """Return (label, folder of the log) of each certification stage."""
        return [
            (stage.label or stage.name, self.folder_of(stage)) for stage in self.stages if stage.certify is not None
        ]

    def run_of(self, name: str) -> Path:
        """Return the run directory of a training stage, or the file or run directory that replaces it."""
        return self.weights.get(name, self.out / name)

    def folder_of(self, stage: Stage) -> Path:
        """Return the folder that a stage writes: a run directory, or the folder of a log inside one."""
        if stage.certify is None:
            return self.out / stage.name
        return RunDirectory(self.run_of(stage.certify)).log_folder(stage.name)

    def initial_weights(self, name: str) -> Path:
        """Return the run directory or file for a value of ``init_from``.

        Args:
            name: ``stage``, or ``stage:milestone``.

        Raises:
            ConfigError: ``name`` is a milestone of a stage that ``pipeline.weights`` replaces by a single file.
        """
        stage, _, milestone = name.partition(":")
        if name in self.weights or not milestone:
            return self.run_of(name)
        if self.run_of(stage).is_file():
            raise ConfigError(
                f"'{name}' is a milestone, but pipeline.weights.{stage} is a single file: give"
                f" pipeline.weights.{name} as well"
            )
        return RunDirectory(self.run_of(stage)).checkpoints.file(milestone)

    def training_config(self, stage: Stage) -> DictConfig:
        """Return the config of a training stage; each is opened once, so do not change it."""
        if stage.name in self._opened:
            return self._opened[stage.name]
        start = [f"train.init_from={self.initial_weights(stage.init_from)}"] if stage.init_from else []
        overrides = [*stage.overrides, *self._trial(stage), *start, f"train.out_dir={self.folder_of(stage)}"]
        self._opened[stage.name] = open_config(stage.config, overrides, training.SECTIONS)
        return self._opened[stage.name]

    def trained_config(self, name: str) -> DictConfig:
        """Return the training config that a certification of this training stage uses.

        If ``pipeline.weights`` replaces the stage, this is the config of that run directory, else that of the stage.
        """
        if name in self.weights:
            return RunDirectory(self.weights[name]).config
        return self.training_config(next(stage for stage in self.stages if stage.name == name))

    def certification_overrides(self, stage: Stage) -> list[str]:
        """Return the overrides of the config of a certification stage."""
        run = self.run_of(str(stage.certify))
        return [f"certify.run={run}", f"certify.name={stage.name}", *stage.overrides, *self._trial(stage)]

    def _trial(self, stage: Stage) -> list[str]:
        """Return the overrides ``debug`` of a stage's config in a trial, else an empty list."""
        if not self.debug:
            return []
        overrides = open_config(stage.config).get("debug")
        if overrides is None:
            raise ConfigError(f"{stage.config} has no overrides `debug`: this pipeline cannot be run with --debug")
        return list(overrides)
