"""DefaultTrainer: from a config to a trainer with the usual hooks."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dmaelab.config import instantiate
from dmaelab.data import Dataset, build_train_loader, resident_device
from dmaelab.data.loader import Loader
from dmaelab.engine import hooks
from dmaelab.engine.classes import check_training_classes, warn_of_other_head
from dmaelab.engine.evaluation import evaluate
from dmaelab.engine.hooks.base import Hook
from dmaelab.engine.run_dir import RunDirectory, weights_of
from dmaelab.engine.settings import TrainSettings
from dmaelab.engine.trainer import Trainer
from dmaelab.engine.writers import ConsoleWriter, JSONWriter, TensorBoardWriter, Writer
from dmaelab.interfaces import Trainable
from dmaelab.rules.compilation import compile_blocks
from dmaelab.utils.distributed import barrier, is_main, pick_device, rank, with_synchronised_batch_norms, world_size
from dmaelab.utils.errors import ConfigError, did_you_mean
from dmaelab.utils.paths import local_path
from dmaelab.utils.random import Draw
from dmaelab.utils.watchdog import WATCHDOG
from dmaelab.weights import fill_pretrained, read_weights
from dmaelab.weights.facts import class_names_in, facts_of
from dmaelab.weights.files import FACTS

logger = logging.getLogger("dmaelab")


class DefaultTrainer(Trainer):
    """Builds everything that a training config names, in a fixed order, and registers the default hooks.

    To add hooks, list them in the section ``hooks`` of the config. To change how something is built, write a subclass
    that overrides ``build_*`` methods, and set ``trainer`` in the config to its dotted name.

    Args:
        cfg: a checked and resolved config with the sections ``model``, ``data``, ``optimizer``, ``schedule`` and
            ``train``.
        resume: continue from the newest checkpoint of ``train.out_dir``, if there is one.
    """

    def __init__(self, cfg: DictConfig, resume: bool = False) -> None:
        self.cfg = cfg
        self.settings = settings = TrainSettings.of(cfg)
        self.run = RunDirectory(settings.out_dir)
        device = pick_device(settings.device)
        state = self.run.checkpoints.load_latest() if resume else None
        start = state["step"] if state else 0

        model = self.build_model().to(device)
        train_set, self.test_set = instantiate(cfg.data.train), instantiate(cfg.data.test)
        stored = class_names_in(state.get(FACTS, {}), "the checkpoint") if state else None
        check_training_classes(model.export(), {"data.train": train_set, "data.test": self.test_set}, stored, cfg)
        self.started_from: Path | None = None
        if settings.init_from is not None and state is None:
            self.started_from = self.fill_from(local_path(settings.init_from), model)
        max_iter, self.milestones = settings.steps(len(train_set))
        _, accum_steps = settings.split(world_size())
        super().__init__(
            model=self.wrap(model, device),
            optimizer=instantiate(cfg.optimizer, model=model),
            micro_batches=iter(self.build_train_loader(train_set, start, device)),
            max_iter=max_iter,
            device=device,
            seed=settings.seed,
            precision=settings.precision,
            accum_steps=accum_steps,
            clip_grad=settings.clip_grad,
        )
        self.register_hooks(self.build_hooks())
        if settings.best_metric is not None:
            self._check_best_metric(settings.best_metric)
        if state is not None:
            self.load_state_dict(state)
            logger.info("resumed at step %d of %d", self.step, self.max_iter)
        elif resume:
            logger.info("starting at step 0 of %d: %s", self.max_iter, self.run.checkpoints.why_none())

    @property
    def final_model(self) -> Trainable:
        """The module that is evaluated and saved at the end: the moving average if there is one, else the model."""
        average = self.find_hook(hooks.EMAHook)
        return self.inner if average is None else cast(Trainable, average.model)

    def build_model(self) -> Trainable:
        """Build ``cfg.model`` with the global CPU generator seeded from (seed, "init"), then restore the generator."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(Draw(self.settings.seed, "init").seed())
            return instantiate(self.cfg.model)

    def fill_from(self, source: Path, model: Trainable) -> Path:
        """Fill ``model`` with the weights of an earlier training, and return the path of their file.

        Args:
            source: run directory, or weights file of this project or in the official DMAE layout.
            model: the module to fill.
        """
        path = weights_of(source)
        weights = read_weights(path)
        logger.info("%s: %s", path, fill_pretrained(model, weights))
        warn_of_other_head(weights, model.export())
        return path

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs, and facts about the model that its tensors do not show.

        The facts are for programs that load the checkpoint without the run directory.
        """
        return {**super().state_dict(), FACTS: facts_of(self.final_model.export())}

    def build_train_loader(self, dataset: Dataset, start: int, device: torch.device) -> Loader:
        """Build the endless loader of this process; its first batch is that of step ``start``."""
        settings = self.settings
        micro, accum = settings.split(world_size())
        transform = instantiate(self.cfg.data.get("transform") or [])
        return build_train_loader(
            dataset,
            micro,
            settings.seed,
            settings.num_workers,
            transform=transform,
            augment=instantiate(self.cfg.data.get("augment") or []),
            world=world_size(),
            rank=rank(),
            accum=accum,
            start_step=start,
            pin_memory=device.type == "cuda",
            resident=resident_device(dataset, transform, device),
            timeout=settings.data_timeout,
        )

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model as it is trained. It has the same parameters, under the same names.

        With several processes, batch norms are synchronised if ``train.sync_batchnorm`` is set, and the model is
        wrapped in DDP. Blocks are compiled if ``train.compile`` is set.

        Raises:
            ConfigError: there is nothing to compile, or a batch norm cannot be synchronised.
        """
        if self.settings.sync_batchnorm and world_size() > 1:
            model = with_synchronised_batch_norms(model)
        if self.settings.compile and not compile_blocks(model):
            raise ConfigError(
                f"train.compile: {type(model).__name__} has no repeated blocks to compile: set it to False"
            )
        if world_size() == 1:
            return model
        return DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)

    def build_hooks(self) -> list[Hook]:
        """Return the default hooks and those of the config. This method alone decides their order."""
        settings, folder = self.settings, self.run.checkpoints
        guard = hooks.NaNGuard(settings.log_period)
        place = hooks.FolderGuard(self.run.path, settings.log_period)

        def check() -> None:
            place.check()
            guard.check()

        folder.check = check
        evaluation = hooks.EvalHook(self.evaluate, settings.eval_period)
        checkpoint = hooks.CheckpointHook(
            folder, settings.checkpoint_period, settings.keep_checkpoints, self.milestones
        )
        chosen: list[Hook] = [hooks.ScheduleHook(instantiate(self.cfg.schedule)), guard]
        if settings.ema_decay is not None:
            chosen.append(hooks.EMAHook(self.inner, settings.ema_decay))
        chosen += [hooks.ThroughputHook(settings.batch_size, settings.log_period), evaluation]
        # The config's hooks run before logging and checkpoints, so that both contain their values and their state.
        chosen += self.build_own_hooks()
        chosen.append(place)
        # Logging runs before checkpoints. Then a checkpoint at a log step holds empty sums, and a resumed run writes
        # the same records as an uninterrupted one.
        chosen.append(hooks.LogHook(self.build_writers() if is_main() else [], settings.log_period))
        if settings.best_metric is not None:
            chosen.append(hooks.BestHook(folder, evaluation, settings.best_metric, settings.best_mode))
        return [*chosen, checkpoint, hooks.PreemptionHook(checkpoint.save, settings.stop_grace, folder.saved)]

    def build_own_hooks(self) -> Sequence[Hook]:
        """Return the hooks that the config lists in ``hooks``, in its order.

        Raises:
            ConfigError: an entry does not build a hook.
        """
        own = instantiate(self.cfg.get("hooks") or [])
        for place, hook in enumerate(own):
            if not isinstance(hook, Hook):
                raise ConfigError(f"hooks.{place}: builds a {type(hook).__name__}, not a dmaelab.engine.Hook")
        return own

    def _check_best_metric(self, metric: str) -> None:
        """Refuse an unknown metric name at the start; evaluates one image to learn the names.

        The first regular evaluation may come only after the last step, when an error would be too late.
        """
        known = sorted(
            evaluate(self.final_model, self.test_set, replace(self.settings, eval_images=1, num_workers=0), self.device)
        )
        if metric not in known:
            raise ConfigError(
                f"train.best_metric: there is no metric '{metric}'{did_you_mean(metric, known)}; there are:"
                f" {', '.join(known)}"
            )

    def build_writers(self) -> list[Writer]:
        """Return the writers that log records go to."""
        writers: list[Writer] = [ConsoleWriter(self.max_iter), JSONWriter(self.run.metrics)]
        if self.settings.tensorboard:
            writers.append(TensorBoardWriter(self.run.tensorboard))
        return writers

    def evaluate(self) -> dict[str, float]:
        """Return the metrics of :attr:`final_model` on the test set."""
        return evaluate(self.final_model, self.test_set, self.settings, self.device)

    def last_metrics(self) -> dict[str, float]:
        """Return the metrics after the last step; evaluates now if the run was already complete and no step ran."""
        evaluation = self.find_hook(hooks.EvalHook)
        return (evaluation.latest if evaluation else {}) or self.evaluate()

    def finish(self) -> None:
        """Write the exported :attr:`final_model` as the final weights of the run. Other processes wait for the first.

        A signal does not interrupt this, because the training is complete.
        """
        with WATCHDOG.pause():
            if is_main():
                weights = "raw" if self.find_hook(hooks.EMAHook) is None else "ema"
                model = self.final_model.export()
                if guard := self.find_hook(hooks.FolderGuard):
                    guard.check()
                self.run.save_final(
                    {"model": model.state_dict(), FACTS: facts_of(model), "weights": weights, "step": self.step}
                )
            barrier()
