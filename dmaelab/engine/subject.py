"""The subject of a certification: the classifier of a finished run, or any other module."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from dmaelab.config import instantiate
from dmaelab.config.check import check_nodes
from dmaelab.config.plain import interpolated
from dmaelab.engine.classes import ClassList, head_of_node
from dmaelab.engine.resolve import with_attention
from dmaelab.engine.run_dir import RunDirectory, is_selected
from dmaelab.records.labels import SELECTED_BY
from dmaelab.utils.errors import ConfigError, UserError
from dmaelab.weights import read_file
from dmaelab.weights.facts import class_names_in
from dmaelab.weights.files import FACTS

logger = logging.getLogger("dmaelab")


class TrainedRun:
    """The classifier that a run directory holds.

    Args:
        path: the run directory.
        weights: name of its weights, as for :meth:`~dmaelab.engine.run_dir.RunDirectory.weights`.
        config: the config of its training; None reads the frozen one. A pipeline passes it before the run exists.
    """

    def __init__(self, path: str | Path, weights: str, config: DictConfig | None = None) -> None:
        self.run, self.weights = RunDirectory(path), weights
        self.config = self.run.config if config is None else config

    @property
    def model_config(self) -> DictConfig:
        """The config node of the model that answers: of the classifier inside the trainable module."""
        return self.config.model.get("classifier", self.config.model)

    @property
    def sigma(self) -> float | Sequence[float] | None:
        """Sigma of the training in [0,1] pixel units: a number, a range (low, high), or None without a corruption."""
        return (self.config.model.get("corruption") or {}).get("sigma")

    def labels(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the labels of the log: those of the training, updated with those of the certification.

        If the weights were selected by a metric, the label ``selected_by`` is added and cannot be overridden. Such
        weights were chosen on ``data.test``, so certificates for images of ``data.test`` are not independent of that
        choice.

        Args:
            own: the labels of the certification.
        """
        selected = {}
        if is_selected(self.weights):
            selected = {SELECTED_BY: f"{self.config.train.best_metric or 'a metric'} on data.test"}
        return {**self.run.labels, **own, **selected}

    def check(self) -> None:
        """Check the config of the model without building it.

        Raises:
            ConfigError: it is wrong, or calls what a run directory may not call.
        """
        try:
            check_nodes(interpolated(self.config.model), "model", {})
        except ConfigError as error:
            raise ConfigError(f"{self.run}: {error}") from error

    def load(self, device: torch.device) -> nn.Module:
        """Return the classifier, [0,1] images [N,C,H,W] -> logits [N,K], in evaluation mode on ``device``.

        Raises:
            UserError: the run trained no classifier, or has no such weights.
        """
        classifier = self.run.model(self.weights, device).export()
        if not hasattr(classifier, "num_classes"):
            raise UserError(
                f"{self.run} trained a {type(classifier).__name__}, which is not a classifier: certify a fine-tuned run"
            )
        return classifier

    def classes(self, classifier: nn.Module) -> ClassList | None:
        """Return the classes of the loaded classifier, with names if its file stores them."""
        return ClassList.of_model(f"the classifier of {self.run}", classifier)

    def declared_classes(self) -> ClassList | None:
        """Return the classes as far as they are known without the weights; None if they are not known.

        The names are those that the file of weights stores. If there is no file yet, they are those of the training
        set, as far as its config tells them.
        """
        head = head_of_node(f"the classifier of {self.run}", self.model_config)
        if head is None:
            return None
        path = self.run.weights(self.weights) if self.weights != "final" or self.run.finished else None
        if path is not None and path.is_file():
            names = class_names_in(read_file(path, mmap=True).get(FACTS, {}), str(path))
            return head if names is None else replace(head, names=tuple(names))
        trained = ClassList.of_node(f"data.train of {self.run}", self.config.data.train)
        return trained if trained is not None and trained.count == head.count else head

    def warn_of_noise(self, name: str, sigma: float) -> None:
        """Warn if the noise of a certification is not the noise of the training.

        Args:
            name: registered name of the noise.
            sigma: its level, in [0,1] pixel units.
        """
        if self.sigma is None:
            return
        low, high = self.sigma if isinstance(self.sigma, Sequence) else (self.sigma, self.sigma)
        if not low <= sigma <= high:
            logger.warning(
                "warning: certifying at sigma %s a model trained at %s: expect it to abstain", sigma, self.sigma
            )
        trained = self.config.model.corruption.get("name")
        if name != trained:
            logger.warning("warning: certifying with %s noise a model trained with %s", name, trained)


class OwnModule:
    """A module that the section ``classifier`` of a certification config builds, without a run.

    Args:
        node: the section ``classifier``.
        path: ``certify.out_dir``; the log is written below it.
    """

    sigma = None

    def __init__(self, node: DictConfig, path: str) -> None:
        self.model_config, self.run = node, RunDirectory(path)

    def labels(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Return the labels of the certification; there is no training whose labels could be added."""
        return dict(own)

    def load(self, device: torch.device) -> nn.Module:
        """Return the module, [0,1] images [N,C,H,W] -> logits [N,K], in evaluation mode on ``device``.

        Raises:
            UserError: the section does not build a ``torch.nn.Module``.
        """
        classifier = instantiate(with_attention(self.model_config, device, training=False))
        if not isinstance(classifier, nn.Module):
            raise UserError(
                f"classifier: builds a {type(classifier).__name__}, not a torch.nn.Module that maps [0,1] images to"
                " logits"
            )
        return classifier.to(device).eval()

    def classes(self, classifier: nn.Module) -> ClassList | None:
        """Return the number of classes of the loaded module, if it has an attribute ``num_classes``; never names."""
        found = ClassList.of_model("the classifier", classifier)
        return None if found is None else replace(found, names=None)

    def declared_classes(self) -> ClassList | None:
        """Return the number of classes that the section gives; None if it gives none."""
        return head_of_node("the classifier", self.model_config)

    def warn_of_noise(self, name: str, sigma: float) -> None:
        """Do nothing: the noise of the module's training is not known."""


Subject = TrainedRun | OwnModule


def subject_of(cfg: DictConfig) -> Subject:
    """Return the subject that a certification config names.

    Args:
        cfg: a config with either a section ``classifier`` or ``certify.run``.

    Raises:
        ConfigError: the config names neither, or both.
    """
    if "classifier" not in cfg:
        return trained_run(cfg)
    run, out = cfg.certify.get("run"), cfg.certify.get("out_dir")
    if run is not None or out is None:
        raise ConfigError(
            "certify: a config with a section 'classifier' needs certify.out_dir for its log, and no certify.run"
        )
    return OwnModule(cfg.classifier, out)


def trained_run(cfg: DictConfig, run_config: DictConfig | None = None) -> TrainedRun:
    """Return the run that a certification config names in ``certify.run``.

    Args:
        cfg: a certification config.
        run_config: the config of the training, if its run does not exist yet.

    Raises:
        ConfigError: the config names no run.
    """
    run = cfg.certify.get("run")
    if run is None:
        raise ConfigError("certify.run: name the run directory to certify, or give the config a section 'classifier'")
    return TrainedRun(run, cfg.certify.get("weights", "final"), run_config)
