"""A chain of stages: pre-train, fine-tune, certify, table. Restartable at any of them."""

import logging
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dmaelab.analysis.paper.tables import NUMBERS
from dmaelab.config import check, instantiate, load_plugins, open_config
from dmaelab.engine import certification, training
from dmaelab.engine.inherited_labels import other_labels
from dmaelab.engine.run_dir import RunDirectory, weights_of
from dmaelab.launch.distributed import in_processes, process_group
from dmaelab.launch.shards import STOPPED, certify_in_processes, default_processes
from dmaelab.launch.stages import PipelineSettings, Stage, dependents, repeated
from dmaelab.utils.cli import preempted_by_signals, run_main
from dmaelab.utils.errors import ConfigError, did_you_mean
from dmaelab.utils.files import file_hash

logger = logging.getLogger("dmaelab")


class Pipeline:
    """The stages of a pipeline config, checked as a whole before the first one starts.

    Args:
        cfg: with the sections ``pipeline`` and ``stages``.
        debug: a trial of seconds: every stage with the overrides ``debug`` of its config, in one process, without
            ``pipeline.weights``, anew below ``<out_dir>/debug``.

    Raises:
        ConfigError: names the stage and what is wrong with it.
    """

    def __init__(self, cfg: DictConfig, debug: bool = False) -> None:
        check(cfg, sections={"pipeline": PipelineSettings}, allowed=["stages"])
        self.settings = PipelineSettings(**instantiate(cfg.pipeline))
        self.debug = debug
        self.out = Path(self.settings.out_dir, *["debug"] * debug)
        self.weights = {
            name: Path(path) for name, path in self.settings.weights.items() if path is not None and not debug
        }
        self.processes = (
            1 if debug else default_processes() if self.settings.processes == "auto" else self.settings.processes
        )
        self.stages: list[Stage] = []
        for number, node in enumerate(instantiate(cfg.get("stages")) or []):
            self._add(_stage(node, f"stages.{number}"), f"stages.{number}")
        if not self.stages:
            raise ConfigError("stages: a pipeline needs at least one")
        self._check_settings()
        self.stages = repeated(self.stages, self.settings.seeds)

    def _add(self, stage: Stage, where: str) -> None:
        if stage.name in [earlier.name for earlier in self.stages]:
            raise ConfigError(f"{where}.name: two stages are called '{stage.name}'")
        if stage.source is not None:
            key = "init_from" if stage.certify is None else "certify"
            self._known_training(stage.source, f"{where}.{key}: there is no earlier training stage")
        self._check_milestone(stage, where)
        self.stages.append(stage)
        try:
            self._check(stage)
        except ConfigError as error:
            raise ConfigError(f"stage '{stage.name}': {error}") from error

    def _check_milestone(self, stage: Stage, where: str) -> None:
        """Refuse a milestone that the run of a stage will not leave; of a run in its place it is not known."""
        name, colon, milestone = (stage.init_from or stage.certify or "").partition(":")
        if colon and stage.certify is not None:
            raise ConfigError(
                f"{where}.certify: name the stage '{name}', and certify.weights={milestone} among the overrides"
            )
        if not colon or {name, f"{name}:{milestone}"} & self.weights.keys():
            return
        train = self._trained_config(name).train
        known = [*(train.get("milestones") or {}), *(["best"] if train.get("best_metric") else [])]
        if milestone not in known:
            there = f"it has: {', '.join(known)}" if known else "it has none"
            raise ConfigError(
                f"{where}.init_from: stage '{name}' has no milestone '{milestone}'{did_you_mean(milestone, known)};"
                f" {there}"
            )

    def _check(self, stage: Stage) -> None:
        """Check the config of a stage, a certification against the config of the training that it will find."""
        if stage.certify is None:
            training.check_training(self._training_config(stage))
        else:
            cfg = open_config(stage.config, sections=certification.SECTIONS)
            trained, overrides = self._trained_config(stage.certify), self._certify_overrides(stage, stage.certify)
            certification.complete(cfg, trained, overrides)

    def _check_settings(self) -> None:
        for name in self.settings.pictures:
            self._known_training(name, "pipeline.pictures: there is no training stage")
        for name in self.settings.weights:
            self._known_training(name.partition(":")[0], "pipeline.weights: there is no training stage")
            started = [stage.init_from for stage in self.stages if stage.init_from]
            if ":" in name and name not in started:
                raise ConfigError(f"pipeline.weights.{name}: no stage starts from that{did_you_mean(name, started)}")
        for name, path in self.weights.items():
            if not path.exists():
                raise ConfigError(f"pipeline.weights.{name}: there is no file or run directory {path}")
            if path.is_file() and name in self.settings.pictures:
                raise ConfigError(
                    f"pipeline.weights.{name}: {path} is a file, and pipeline.pictures needs the run directory of"
                    f" '{name}'"
                )
        logs = [stage.name for stage in self.stages if stage.certify is not None]
        for pair in self.settings.compare:
            if len(pair) != 2 or not set(pair) <= set(logs):
                raise ConfigError(
                    f"pipeline.compare: {pair} is no pair of certification stages; there are: {', '.join(logs)}"
                )
        for number in self.settings.tables:
            if number not in NUMBERS:
                raise ConfigError(
                    f"pipeline.tables: table {number} is none that logs make: there are {', '.join(map(str, NUMBERS))}"
                )

    def _known_training(self, name: str, complaint: str) -> None:
        trainings = [stage.name for stage in self.stages if stage.certify is None]
        if name not in trainings:
            raise ConfigError(f"{complaint} '{name}'{did_you_mean(name, trainings)}")

    def run(self, restart_at: str | None = None) -> None:
        """Run the stages in order; finished ones are skipped, a killed one continues.

        Args:
            restart_at: name of a stage; its results and those of all stages that need it are removed first.
        """
        if self.debug and self.out.exists():
            shutil.rmtree(self.out)
        if restart_at is not None:
            self._discard(restart_at)
        for number, stage in enumerate(self.stages, 1):
            logger.info("stage %d of %d: %s", number, len(self.stages), stage.name)
            if stage.certify is None:
                self._train(stage)
            else:
                self._certify(stage, stage.certify)

    def logs(self) -> list[tuple[str, Path]]:
        """Return (label, folder of the log) of the certification stages."""
        return [(s.label or s.name, self._log_folder(s)) for s in self.stages if s.certify is not None]

    def run_of(self, name: str) -> Path:
        """Return the run directory of a training stage, or what stands in its place."""
        return self.weights.get(name, self.out / name)

    def _train(self, stage: Stage) -> None:
        if stage.name in self.weights:
            logger.info("not run: %s stands in its place", self.weights[stage.name])
            return
        cfg = self._training_config(stage)
        run = RunDirectory(self.out / stage.name)
        if run.begun:
            self._check_begun(stage, cfg, run)
        if run.finished:
            return
        if self.processes == 1:
            training.run_training(cfg, resume=True)
        else:
            in_processes(_train_one_rank, OmegaConf.to_yaml(cfg), count=self.processes)

    def _check_begun(self, stage: Stage, cfg: DictConfig, run: RunDirectory) -> None:
        """Refuse to take, or to continue, a run of another config or from other weights for this stage."""
        redo = f"redo it, and what needs it, with --from {stage.name}"
        began, source = run.initial_weights(), cfg.train.get("init_from")
        changed = run.changes(cfg)
        known = began is not None and source is not None and Path(source).exists()
        if known:  # the bytes of the weights count, not how their place is written
            changed = [change for change in changed if change.key != "train.init_from"]
        if changed:
            raise ConfigError(
                f"stage '{stage.name}' was run with another config ({changed[0].between('there', 'now')}): {redo}"
            )
        for label in other_labels(run, cfg):
            logger.warning(
                "stage '%s' was run with another label, which tables go by (%s): --label corrects it",
                stage.name,
                label.between("there", "now"),
            )
        if known:
            file = weights_of(source)
            if file_hash(file) != began:
                raise ConfigError(f"stage '{stage.name}' began with other weights than {file} holds now: {redo}")

    def _certify(self, stage: Stage, source: str) -> None:
        cfg = certification.certification_config(stage.config, self._certify_overrides(stage, source))
        if self.processes > 1:
            certify_in_processes(cfg, self.processes)
            return
        with preempted_by_signals(STOPPED):
            certification.run_certification(cfg)

    def _training_config(self, stage: Stage) -> DictConfig:
        start = [f"train.init_from={self._weights(stage.init_from)}"] if stage.init_from else []
        overrides = [*stage.overrides, *self._debug(stage), *start, f"train.out_dir={self.out / stage.name}"]
        return open_config(stage.config, overrides, training.SECTIONS)

    def _trained_config(self, name: str) -> DictConfig:
        """Return the config of the run that a certification finds: of a run directory in its place, or as the stage
        will leave it.
        """
        if name in self.weights:
            return RunDirectory(self.weights[name]).config
        return self._training_config(next(stage for stage in self.stages if stage.name == name))

    def _certify_overrides(self, stage: Stage, source: str) -> list[str]:
        return [
            f"certify.run={self.run_of(source)}",
            f"certify.name={stage.name}",
            *stage.overrides,
            *self._debug(stage),
        ]

    def _debug(self, stage: Stage) -> list[str]:
        if not self.debug:
            return []
        overrides = open_config(stage.config).get("debug")
        if overrides is None:
            raise ConfigError(f"{stage.config} has no overrides `debug`: this pipeline has no trial")
        return list(overrides)

    def _weights(self, name: str) -> Path:
        """Return the run directory or file that ``stage`` or ``stage:milestone`` means."""
        stage, _, milestone = name.partition(":")
        if name in self.weights or not milestone:
            return self.run_of(name)
        if self.run_of(stage).is_file():
            raise ConfigError(
                f"'{name}' is a milestone and pipeline.weights.{stage} one file: give pipeline.weights.{name} as well"
            )
        return self.run_of(stage) / "checkpoints" / f"{milestone}.pth"

    def _log_folder(self, stage: Stage) -> Path:
        return self.run_of(str(stage.certify)) / "certify" / stage.name

    def _discard(self, name: str) -> None:
        names = [stage.name for stage in self.stages]
        if name not in names:
            raise ConfigError(f"there is no stage '{name}'{did_you_mean(name, names)}; there are: {', '.join(names)}")
        if name in self.weights:
            raise ConfigError(f"--from {name}: its place is taken by pipeline.weights.{name}, which is not removed")
        for stage in dependents(name, self.stages):
            folder = self.out / stage.name if stage.certify is None else self._log_folder(stage)
            if folder.exists() and stage.name not in self.weights:
                logger.info("removing %s", folder)
                with RunDirectory(folder).hold() if stage.certify is None else nullcontext():
                    shutil.rmtree(folder)


def _train_one_rank(text: str) -> None:
    """Train as a config says, as one process of several."""
    cfg: Any = OmegaConf.create(text)

    def train() -> None:
        load_plugins(cfg)
        with process_group():
            training.run_training(cfg, resume=True)

    run_main(train)


def _stage(node: dict[str, Any], where: str) -> Stage:
    known = list(Stage.__dataclass_fields__)
    for key in node:
        if key not in known:
            raise ConfigError(f"{where}.{key}: a stage has no key '{key}'{did_you_mean(key, known)}")
    if "name" not in node:
        raise ConfigError(f"{where}: a stage needs a name")
    return Stage(**node)
