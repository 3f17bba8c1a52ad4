"""run_certification: certify the classifier of a finished run, or a module of one's own, as a config says."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from dmaelab.config import LazyConfig, check, instantiate, list_configs, load_plugins, open_config
from dmaelab.data import Dataset, select_indices, to_float
from dmaelab.engine.resolve import with_attention
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.settings import CertifySettings
from dmaelab.engine.subject import Subject, subject_of
from dmaelab.smoothing import Case, Smoothing, certify_images
from dmaelab.smoothing.noise import smoothing_noise
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.errors import ConfigError, UserError, did_you_mean

logger = logging.getLogger("dmaelab")

SECTIONS = {"certify": CertifySettings}
_NODES = ("certifier", "corruption", "dataset")
# Where a data set lies and how it is kept do not change what is certified.
_PLACES = ("root", "in_memory", "download")
DEFAULT = "certify/default"


class Certification:
    """A certification config, checked and built once; data and weights are read when :meth:`run` asks for them.

    Args:
        cfg: a complete config: with ``certify, certifier, corruption, dataset`` and a run or a ``classifier``.
        subject: what is certified; None reads it from the config.

    Attributes:
        cfg: the config.
        settings: its section ``certify``.
        subject: what is certified.
        certifier, corruption: as built.
        sigma: level of the noise, in [0,1] pixel units.
        folder: of the log.

    Raises:
        UserError: in one line, the first thing that is wrong.
    """

    def __init__(self, cfg: DictConfig, subject: Subject | None = None) -> None:
        for name in (*SECTIONS, *_NODES):
            if name not in cfg:
                raise ConfigError(f"{name}: a certification config needs this section")
        check(cfg, sections=SECTIONS, allowed=(*_NODES, "classifier", "debug"))
        self.cfg, self.settings = cfg, CertifySettings(**instantiate(cfg.certify))
        self.subject = subject_of(cfg) if subject is None else subject
        self.corruption, self.certifier = instantiate(cfg.corruption), instantiate(cfg.certifier)
        geometry, self.sigma = smoothing_noise(self.corruption)
        self.certifier.check(Case(2, geometry, self.sigma, tau=geometry.tau(self.sigma, 1), label=0))
        out = self.settings.out_dir
        parent = self.subject.run if out is None else RunDirectory(out)
        self.folder = parent.log_folder(self.settings.name)

    def smoothing(self, dataset: Dataset, device: torch.device, seed: int) -> Smoothing:
        """Return the smoothed classifier, its weights read.

        Args:
            dataset: whose images are certified; it must have as many classes as the classifier.
            device: where to evaluate.
            seed: of the noise.

        Raises:
            UserError: there is no such classifier, or it has other classes.
        """
        classifier = self.subject.load(device)
        if dataset.num_classes != getattr(classifier, "num_classes", dataset.num_classes):
            raise UserError(
                f"the classifier has {classifier.num_classes} classes and the data set {dataset.num_classes}:"
                " set another dataset"
            )
        return Smoothing(
            classifier,
            self.corruption,
            dataset.num_classes,
            seed=seed,
            arithmetic=self.settings.arithmetic,
            on_invalid=self.settings.on_invalid,
        )

    def run(self, shard: tuple[int, int] = (0, 1), progress: bool = True) -> Path:
        """Certify, and return the folder of the log. See :func:`run_certification`."""
        settings, device = self.settings, pick_device(self.settings.device)
        dataset = instantiate(self.cfg.dataset)
        smoothing = self.smoothing(dataset, device, settings.seed)
        self.subject.warn_of_noise(self.cfg.corruption.get("name"), self.sigma)
        certify_images(
            smoothing,
            images_of(dataset),
            select_indices(len(dataset), settings.subset, dataset.targets),
            self.certifier,
            out=self.folder,
            batch_size=settings.batch_size,
            shard=shard,
            identity=self.identity(device),
            context={
                "run": settings.run,
                "weights_file": settings.weights,
                "labels": self.subject.labels(settings.labels),
                "threads": torch.get_num_threads(),
            },
            progress=progress,
        )
        return self.folder

    def identity(self, device: torch.device) -> dict[str, Any]:
        """Return what determines the rows besides noise, statistics and the tensors of the weights.

        The model's config stands for what no tensor shows (heads, input size).
        """
        model = with_attention(self.subject.model_config, device, training=False)
        return {
            "model": _plain(model.get("classifier", model)),
            "dataset": {key: value for key, value in _plain(self.cfg.dataset).items() if key not in _PLACES},
            "plugins": _plain(self.cfg.get("plugins", [])),
        }


def certification_config(source: str | Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Return a complete, checked certification config from a run directory or a config file, with overrides.

    A run directory takes the config :data:`DEFAULT`. See :func:`complete` for what the run fills in. A config with
    a section ``classifier`` (any module, [0,1] images -> logits) needs no run: it names ``certify.out_dir``,
    ``dataset`` and ``corruption.sigma`` itself.

    Raises:
        UserError: there is no such run or config, or :func:`complete` refuses.
    """
    source = Path(source)
    is_file = source.suffix in (".py", ".yaml", ".yml")
    if not (source.is_dir() or is_file) and str(source) not in (known := list_configs()):
        raise ConfigError(
            f"{source}: there is no such run directory, and no config of that name{did_you_mean(str(source), known)}"
        )
    # The run must be known before the overrides are applied, which may set what it fills in.
    named = [text for text in overrides if text.startswith("certify.run=")]
    run = [f"certify.run={source}"] if source.is_dir() else named
    cfg = open_config(DEFAULT if source.is_dir() else source, run, SECTIONS)
    if "certify" not in cfg:
        raise ConfigError(f"{source} is no certification config (it has no section 'certify'), and no run directory")
    if "classifier" in cfg:  # the overrides may name the folder of its log
        return Certification(LazyConfig.apply_overrides(cfg, overrides, sections=SECTIONS)).cfg
    subject_of(cfg)  # a config without a run is refused before one is looked for
    return complete(cfg, RunDirectory(cfg.certify.run).config, overrides).cfg


def complete(cfg: DictConfig, run_config: DictConfig, overrides: Sequence[str] = ()) -> Certification:
    """Return the certification of a run, with what ``cfg`` leaves open taken from the config of its training.

    ``dataset`` comes from the ``data.test`` of the training, and the plug-ins of both are needed; then the overrides
    are applied, and ``corruption.sigma`` comes from the noise of the training if it is still open.

    Raises:
        UserError: the run was trained on a range of sigma, or without a corruption, and no sigma is given.
    """
    if "dataset" not in cfg:
        cfg.dataset = run_config.data.test
    plugins = [*cfg.get("plugins", []), *run_config.get("plugins", [])]
    if plugins:
        cfg.plugins = list(dict.fromkeys(plugins))
        load_plugins(cfg)
    cfg = LazyConfig.apply_overrides(cfg, overrides, sections=SECTIONS)
    run = subject_of(cfg, run_config)
    if cfg.corruption.get("sigma") is None:
        if isinstance(run.sigma, Sequence):
            raise UserError(f"the run was trained with sigma in {list(run.sigma)}: choose one with corruption.sigma=")
        if run.sigma is None:
            raise UserError("the run was trained without a corruption: give its noise with corruption.sigma=")
        cfg.corruption.sigma = run.sigma
    return Certification(cfg, run)


def run_certification(cfg: DictConfig, shard: tuple[int, int] = (0, 1), progress: bool = True) -> Path:
    """Certify as a config of :func:`certification_config` says; return the folder of the log.

    Finished images of an earlier, killed attempt are skipped. ``shard=(i, N)`` takes every N-th image.

    Raises:
        UserError: bad input, or the folder holds another certification.
    """
    return Certification(cfg).run(shard, progress)


def images_of(dataset: Dataset) -> Callable[[int], tuple[Tensor, int]]:
    """Return index -> (float image in [0,1], label)."""

    def load(index: int) -> tuple[Tensor, int]:
        image, label = dataset.load(index)
        return to_float(image).contiguous(), label  # where a data set keeps its images must not change a sum's rounding

    return load


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
