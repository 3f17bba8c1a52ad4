"""A chain of stages: pre-train, fine-tune, certify, table. Restartable at any of them."""

import logging
import shutil
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dmaelab.analysis.paper_tables import NUMBERS
from dmaelab.config import LazyConfig, check, diff, instantiate, open_config
from dmaelab.engine import certification, run_dir, training
from dmaelab.launch.shards import STOPPED
from dmaelab.launch.stages import PipelineSettings, Stage, repeated
from dmaelab.utils.cli import preempted_by_signals
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.errors import ConfigError, did_you_mean

logger = logging.getLogger("dmaelab")


class Pipeline:
    """The stages of a pipeline config, checked as a whole before the first one starts.

    Args:
        cfg: with the sections ``pipeline`` and ``stages``.
        debug: a trial of seconds: every stage with the overrides ``debug`` of its config, below ``<out_dir>/debug``.

    Raises:
        ConfigError: names the stage and what is wrong with it.
    """

    def __init__(self, cfg: DictConfig, debug: bool = False) -> None:
        check(cfg, sections={"pipeline": PipelineSettings}, allowed=["stages"])
        self.settings = PipelineSettings(**instantiate(cfg.pipeline))
        self.debug = debug
        self.out = Path(self.settings.out_dir, *["debug"] * debug)
        self.weights = {name: Path(path) for name, path in self.settings.weights.items() if path is not None}
        self.stages: list[Stage] = []
        given = [_stage(node, f"stages.{number}") for number, node in enumerate(instantiate(cfg.get("stages")) or [])]
        for number, stage in enumerate(given):
            self._add(stage, f"stages.{number}")
        if not self.stages:
            raise ConfigError("stages: a pipeline needs at least one")
        for name in self.settings.pictures:
            self._known_training(name, "pipeline.pictures: there is no training stage")
        logs = [stage.name for stage in self.stages if stage.certify is not None]
        for pair in self.settings.compare:
            if len(pair) != 2 or not set(pair) <= set(logs):
                raise ConfigError(f"pipeline.compare: {pair} is no pair of certification stages; there are: {', '.join(logs)}")
        for number in self.settings.tables:
            if number not in NUMBERS:
                raise ConfigError(f"pipeline.tables: table {number} is none that logs make: there are {', '.join(map(str, NUMBERS))}")
        for name in self.settings.weights:
            self._known_training(name.partition(":")[0], "pipeline.weights: there is no training stage")
        self.stages = repeated(self.stages, self.settings.seeds)

    def _add(self, stage: Stage, where: str) -> None:
        if stage.name in [earlier.name for earlier in self.stages]:
            raise ConfigError(f"{where}.name: two stages are called '{stage.name}'")
        if stage.source is not None:
            key = "init_from" if stage.certify is None else "certify"
            self._known_training(stage.source, f"{where}.{key}: there is no earlier training stage")
        self.stages.append(stage)
        self._check(stage)

    def _known_training(self, name: str, complaint: str) -> None:
        trainings = [stage.name for stage in self.stages if stage.certify is None]
        if name not in trainings:
            raise ConfigError(f"{complaint} '{name}'{did_you_mean(name, trainings)}")

    def _check(self, stage: Stage) -> None:
        """Check the config of a stage, a certification against the config of the training that it will find."""
        try:
            if stage.certify is None:
                training.check_training(self._training_config(stage))
            else:
                cfg = open_config(stage.config, sections=certification.SECTIONS)
                certification.complete(cfg, self._trained_config(stage.certify), self._certify_overrides(stage, stage.certify))
        except ConfigError as error:
            raise ConfigError(f"stage '{stage.name}': {error}") from error

    def run(self, restart_at: str | None = None) -> None:
        """Run the stages in order; finished ones are skipped, a killed one continues.

        Args:
            restart_at: name of a stage; its results and those of all later stages are removed first.
        """
        if restart_at is not None:
            self._discard(restart_at)
        for number, stage in enumerate(self.stages, 1):
            logger.info("stage %d of %d: %s", number, len(self.stages), stage.name)
            if stage.certify is None:
                self._train(stage)
            else:
                overrides = self._certify_overrides(stage, stage.certify)
                cfg = certification.certification_config(stage.config, overrides)
                with preempted_by_signals(STOPPED):
                    certification.run_certification(cfg)

    def logs(self) -> list[tuple[str, Path]]:
        """Return (label, folder of the log) of the certification stages."""
        return [(s.label or s.name, self._log_folder(s)) for s in self.stages if s.certify is not None]

    def _train(self, stage: Stage) -> None:
        if stage.name in self.weights:
            logger.info("not run: %s stands in its place", self.weights[stage.name])
            return
        cfg = self._training_config(stage)
        folder = self.out / stage.name
        if not (folder / run_dir.FINAL).exists():
            training.run_training(cfg, resume=True)
            return
        run_dir.resolve(cfg, pick_device(cfg.train.get("device", "auto")))
        changed = diff(LazyConfig.load(folder / run_dir.CONFIG), cfg)
        if changed:
            raise ConfigError(f"stage '{stage.name}' has finished with another config ({changed[0]}): redo it with --from {stage.name}")

    def _training_config(self, stage: Stage) -> DictConfig:
        start = [f"train.init_from={self._weights(stage.init_from)}"] if stage.init_from else []
        overrides = [*stage.overrides, *self._debug(stage), *start, f"train.out_dir={self.out / stage.name}"]
        return open_config(stage.config, overrides, training.SECTIONS)

    def _trained_config(self, name: str) -> DictConfig:
        """Return the config of the run that a certification finds: of a run directory in its place, or as the stage will leave it."""
        if name in self.weights:
            return run_dir.load_run(self.weights[name])
        return self._training_config(next(stage for stage in self.stages if stage.name == name))

    def _certify_overrides(self, stage: Stage, source: str) -> list[str]:
        return [f"certify.run={self._run(source)}", f"certify.name={stage.name}", *stage.overrides, *self._debug(stage)]

    def _debug(self, stage: Stage) -> list[str]:
        return list(open_config(stage.config).get("debug") or []) if self.debug else []

    def _run(self, name: str) -> Path:
        """Return the run directory of a training stage."""
        return self.weights.get(name, self.out / name)

    def _weights(self, name: str) -> Path:
        """Return the run directory or file that ``stage`` or ``stage:milestone`` means."""
        stage, _, milestone = name.partition(":")
        if name in self.weights or not milestone:
            return self._run(name)
        if self._run(stage).is_file():
            raise ConfigError(f"'{name}' is a milestone and pipeline.weights.{stage} one file: give pipeline.weights.{name} as well")
        return self._run(stage) / "checkpoints" / f"{milestone}.pth"

    def _log_folder(self, stage: Stage) -> Path:
        return self._run(str(stage.certify)) / "certify" / stage.name

    def _discard(self, name: str) -> None:
        names = [stage.name for stage in self.stages]
        if name not in names:
            raise ConfigError(f"there is no stage '{name}'{did_you_mean(name, names)}; there are: {', '.join(names)}")
        for stage in self.stages[names.index(name) :]:
            folder = self.out / stage.name if stage.certify is None else self._log_folder(stage)
            if folder.exists():
                logger.info("removing %s", folder)
                shutil.rmtree(folder)


def _stage(node: dict[str, Any], where: str) -> Stage:
    known = list(Stage.__dataclass_fields__)
    for key in node:
        if key not in known:
            raise ConfigError(f"{where}.{key}: a stage has no key '{key}'{did_you_mean(key, known)}")
    if "name" not in node:
        raise ConfigError(f"{where}: a stage needs a name")
    return Stage(**node)
