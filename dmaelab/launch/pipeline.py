"""A chain of stages: pre-train, fine-tune, certify, table. Restartable at any of them."""

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from dmaelab.config import LazyConfig, check, diff, instantiate, open_config
from dmaelab.engine import certification, run_dir, training
from dmaelab.launch.shards import STOPPED
from dmaelab.utils.cli import preempted_by_signals
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.errors import ConfigError, did_you_mean

logger = logging.getLogger("dmaelab")


@dataclass(frozen=True)
class Stage:
    """One stage of a pipeline: a training, or with ``certify`` a certification.

    Attributes:
        name: of the stage; a training's run directory is ``<out_dir>/<name>``.
        config: training or certification config, by name or file.
        overrides: of that config, as on the command line.
        init_from: earlier training stage to start from.
        certify: earlier training stage whose model is certified.
        label: row of the final table; the name by default.
    """

    name: str
    config: str = certification.DEFAULT
    overrides: list[str] = field(default_factory=list)
    init_from: str | None = None
    certify: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class PipelineSettings:
    """The section ``pipeline``.

    Attributes:
        out_dir: everything is written below it.
        title: over table and curves.
        radii: columns of the table, in [0,1] pixel units.
        pictures: training stages whose reconstructions are drawn.
        note: printed under the table.
    """

    out_dir: str
    title: str = ""
    radii: list[float] = field(default_factory=lambda: [0.0, 0.25, 0.5, 0.75, 1.0])
    pictures: list[str] = field(default_factory=list)
    note: str = ""


class Pipeline:
    """The stages of a pipeline config, checked as a whole before the first one starts.

    Args:
        cfg: with the sections ``pipeline`` and ``stages``.

    Raises:
        ConfigError: names the stage and what is wrong with it.
    """

    def __init__(self, cfg: DictConfig) -> None:
        check(cfg, sections={"pipeline": PipelineSettings}, allowed=["stages"])
        self.settings = PipelineSettings(**instantiate(cfg.pipeline))
        self.out = Path(self.settings.out_dir)
        self.stages: list[Stage] = []
        for number, node in enumerate(instantiate(cfg.get("stages")) or []):
            self._add(node, f"stages.{number}")
        if not self.stages:
            raise ConfigError("stages: a pipeline needs at least one")
        trainings = [stage.name for stage in self.stages if stage.certify is None]
        for name in self.settings.pictures:
            if name not in trainings:
                raise ConfigError(f"pipeline.pictures: there is no training stage '{name}'{did_you_mean(name, trainings)}")

    def _add(self, node: dict[str, Any], where: str) -> None:
        known = list(Stage.__dataclass_fields__)
        for key in node:
            if key not in known:
                raise ConfigError(f"{where}.{key}: a stage has no key '{key}'{did_you_mean(key, known)}")
        if "name" not in node:
            raise ConfigError(f"{where}: a stage needs a name")
        stage = Stage(**node)
        trainings = [earlier.name for earlier in self.stages if earlier.certify is None]
        if stage.name in [earlier.name for earlier in self.stages]:
            raise ConfigError(f"{where}.name: two stages are called '{stage.name}'")
        for key in ("init_from", "certify"):
            source = getattr(stage, key)
            if source is not None and source not in trainings:
                raise ConfigError(f"{where}.{key}: there is no earlier training stage '{source}'{did_you_mean(source, trainings)}")
        self.stages.append(stage)
        self._check(stage)

    def _check(self, stage: Stage) -> None:
        """Check the config of a stage, a certification against the config of the training that it will find."""
        try:
            if stage.certify is None:
                training.check_training(self._training_config(stage))
            else:
                trained = next(earlier for earlier in self.stages if earlier.name == stage.certify)
                cfg = open_config(stage.config, sections=certification.SECTIONS)
                certification.complete(cfg, self._training_config(trained), self._certify_overrides(stage, stage.certify))
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
        return [(s.label or s.name, self.out / s.certify / "certify" / s.name) for s in self.stages if s.certify is not None]

    def _train(self, stage: Stage) -> None:
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
        start = [f"train.init_from={self.out / stage.init_from}"] if stage.init_from else []
        overrides = [*start, *stage.overrides, f"train.out_dir={self.out / stage.name}"]
        return open_config(stage.config, overrides, training.SECTIONS)

    def _certify_overrides(self, stage: Stage, source: str) -> list[str]:
        return [f"certify.run={self.out / source}", f"certify.name={stage.name}", *stage.overrides]

    def _discard(self, name: str) -> None:
        names = [stage.name for stage in self.stages]
        if name not in names:
            raise ConfigError(f"there is no stage '{name}'{did_you_mean(name, names)}; there are: {', '.join(names)}")
        for stage in self.stages[names.index(name) :]:
            folder = self.out / stage.name if stage.certify is None else self.out / stage.certify / "certify" / stage.name
            if folder.exists():
                logger.info("removing %s", folder)
                shutil.rmtree(folder)
