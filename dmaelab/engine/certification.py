"""Certify the classifier of a finished run, or any other module, from a config."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from dmaelab.certifiers import Case
from dmaelab.certifiers.case import sampled_sigma
from dmaelab.config import LazyConfig, check, instantiate, list_configs, load_plugins, open_config
from dmaelab.config.imports import distrust
from dmaelab.config.overrides import trust_named
from dmaelab.data import Dataset, select_indices, to_float
from dmaelab.engine.classes import ClassList, compare_classes
from dmaelab.engine.resolve import with_attention
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.engine.settings import CertifySettings
from dmaelab.engine.slurm_section import SlurmSettings
from dmaelab.engine.subject import Subject, subject_of, trained_run
from dmaelab.smoothing import Smoothing, certify_images
from dmaelab.smoothing.noise import smoothing_noise
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.errors import ConfigError, UserError, did_you_mean

logger = logging.getLogger("dmaelab")

SECTIONS = {"certify": CertifySettings, "slurm": SlurmSettings}
_NODES = ("certifier", "corruption", "dataset")
# Keys of a data set that do not change its images: the identity of a log leaves them out.
_PLACES = ("root", "in_memory", "download")
DEFAULT = "certify/default"


class Certification:
    """A certification that is checked and built from its config.

    Data and weights are not read here, but in :meth:`run` and :meth:`smoothing`.

    Args:
        cfg: a complete config: with the sections ``certify``, ``certifier``, ``corruption`` and ``dataset``, and with
            either ``certify.run`` or a section ``classifier``.
        subject: the classifier to certify; None takes the one that the config names.

    Attributes:
        cfg: the config.
        settings: its section ``certify``.
        subject: the classifier to certify.
        certifier, corruption: the objects built from these sections.
        sigma: noise level, in [0,1] pixel units.
        folder: folder of the log.

    Raises:
        UserError: the config is wrong; one line names the first problem.
    """

    def __init__(self, cfg: DictConfig, subject: Subject | None = None) -> None:
        for name in ("certify", *_NODES):
            if name not in cfg:
                raise ConfigError(f"{name}: a certification config needs this section")
        check(cfg, sections=SECTIONS, allowed=(*_NODES, "classifier"), plain_sections=("debug",))
        SlurmSettings.of_config(cfg)
        self.cfg, self.settings = cfg, CertifySettings.of(cfg)
        self.subject = subject_of(cfg) if subject is None else subject
        self.corruption, self.certifier = instantiate(cfg.corruption), instantiate(cfg.certifier)
        geometry, self.sigma = smoothing_noise(self.corruption)
        # The number of classes and the size of the images are not known yet; certify_images checks again with them.
        self.certifier.check(Case(2, geometry, sampled_sigma(self.sigma), tau=geometry.tau(self.sigma, 1), label=0))
        out = self.settings.out_dir
        parent = self.subject.run if out is None else RunDirectory(out)
        self.folder = parent.log_folder(self.settings.name)

    def check_classes(self) -> None:
        """Compare the classes of classifier and data set as far as they are known without building anything.

        Raises:
            UserError: they differ. :meth:`smoothing` makes the whole comparison.
        """
        lists = [self.subject.declared_classes(), ClassList.of_node("dataset", self.cfg.dataset)]
        compare_classes(lists, "certify", self.settings.ignore_class_names)

    def smoothing(self, dataset: Dataset, device: torch.device, seed: int, indices: Sequence[int]) -> Smoothing:
        """Read the weights, and return the smoothed classifier.

        Args:
            dataset: data set of the images; it must have the classes of the classifier.
            device: where to evaluate.
            seed: seed of the noise.
            indices: indices of the images that must have a label.

        Raises:
            UserError: the classifier cannot be loaded, its classes are not those of the data set, or an image has no
                label.
        """
        classifier = self.subject.load(device)
        lists = [self.subject.classes(classifier), ClassList.of_dataset("dataset", dataset, indices)]
        compare_classes(lists, "certify", self.settings.ignore_class_names)
        return Smoothing(
            classifier,
            self.corruption,
            dataset.num_classes,
            seed=seed,
            arithmetic=self.settings.arithmetic,
            batch_size=self.settings.batch_size,
            on_invalid=self.settings.on_invalid,
            own_randomness=self.settings.own_randomness,
        )

    def run(self, shard: tuple[int, int] = (0, 1), progress: bool = True) -> Path:
        """Certify the images, and return the folder of the log.

        Images that are already in the log, from an interrupted run of the same certification, are skipped.

        Args:
            shard: ``(i, N)``: certify the images at positions i, i + N, i + 2N, ... of the list of images.
            progress: draw a progress bar.

        Raises:
            UserError: bad input, or the folder holds another certification.
        """
        settings, device = self.settings, pick_device(self.settings.device)
        dataset = instantiate(self.cfg.dataset)
        indices = select_indices(len(dataset), settings.subset, dataset.targets)
        smoothing = self.smoothing(dataset, device, settings.seed, indices)
        self.subject.warn_of_noise(self.cfg.corruption.get("name"), self.sigma)
        certify_images(
            smoothing,
            images_of(dataset),
            indices,
            self.certifier,
            out=self.folder,
            shard=shard,
            identity=self.identity(device),
            context={
                "run": settings.run,
                "weights_file": settings.weights,
                "labels": self.subject.labels(settings.labels),
                "threads": torch.get_num_threads() if device.type == "cpu" else None,
            },
            progress=progress,
        )
        return self.folder

    def identity(self, device: torch.device) -> dict[str, Any]:
        """Return what determines the rows besides noise, statistics and the tensors of the weights.

        The config of the model stands for what is visible in no tensor, such as attention heads and input size.
        """
        model = with_attention(self.subject.model_config, device, training=False)
        return {
            "model": _plain(model),
            "dataset": {key: value for key, value in _plain(self.cfg.dataset).items() if key not in _PLACES},
            "plugins": _plain(self.cfg.get("plugins", [])),
        }


def open_certification(source: str | Path, overrides: Sequence[str] = ()) -> Certification:
    """Return the certification of a run directory or of a config file, with overrides.

    A run directory is certified with the config :data:`DEFAULT`. :func:`complete` describes what is filled in from
    the run. A config with a section ``classifier`` (any module, [0,1] images -> logits) needs no run; it must set
    ``certify.out_dir``, ``dataset`` and ``corruption.sigma`` itself.

    Args:
        source: run directory, config file, or name of a config below ``configs/``.
        overrides: ``key=value`` texts, as on the command line.

    Raises:
        UserError: there is no such run or config, or :func:`complete` raises it.
    """
    trust_named(overrides)
    source = Path(source)
    is_file = source.suffix in (".py", ".yaml", ".yml")
    if not (source.is_dir() or is_file) and str(source) not in (known := list_configs()):
        raise ConfigError(
            f"{source}: there is no such run directory, and no config of that name{did_you_mean(str(source), known)}"
        )
    # Find the run before the other overrides are applied: they may set keys inside the sections that it fills in.
    named = [text for text in overrides if text.startswith("certify.run=")]
    run = [f"certify.run={source}"] if source.is_dir() else named
    inside = OmegaConf.select(LazyConfig.load(source), "certify.run") if source.suffix in (".yaml", ".yml") else None
    for folder in (*(text.partition("=")[2] for text in run), *([inside] if isinstance(inside, str) else [])):
        distrust(folder)  # before anything is imported that could be found there
    cfg = open_config(DEFAULT if source.is_dir() else source, run, SECTIONS)
    if "certify" not in cfg:
        raise ConfigError(f"{source} is neither a run directory nor a certification config (with a section 'certify')")
    if "classifier" in cfg:
        return Certification(LazyConfig.apply_overrides(cfg, overrides, sections=SECTIONS))
    run = cfg.certify.get("run")
    found = complete(cfg, trained_run(cfg).config, overrides)
    if Path(found.settings.run or "").resolve() != Path(run).resolve():
        raise ConfigError(
            f"certify.run is {found.settings.run}, but the run to certify is {run}: name only one of them, because the"
            " noise and the data set are those of its training"
        )
    return found


def complete(cfg: DictConfig, run_config: DictConfig, overrides: Sequence[str] = ()) -> Certification:
    """Return the certification of a run. What ``cfg`` leaves open is taken from the config of the training.

    If ``dataset`` is missing, it is the ``data.test`` of the training. The plug-ins of both configs are loaded. Then
    the overrides are applied. If ``corruption.sigma`` is still None, it is the sigma of the training.

    Args:
        cfg: certification config that names the run.
        run_config: config of the training. A pipeline passes it before the run exists.
        overrides: ``key=value`` texts.

    Raises:
        UserError: no sigma is given, and the run was trained on a range of sigma or without a corruption.
    """
    if "dataset" not in cfg:
        cfg.dataset = run_config.data.test
    plugins = [*cfg.get("plugins", []), *run_config.get("plugins", [])]
    if plugins:
        cfg.plugins = list(dict.fromkeys(plugins))
        load_plugins(cfg)
    cfg = LazyConfig.apply_overrides(cfg, overrides, sections=SECTIONS)
    run = trained_run(cfg, run_config)
    run.check()
    if cfg.corruption.get("sigma") is None:
        if isinstance(run.sigma, Sequence):
            raise UserError(f"the run was trained with sigma in {list(run.sigma)}: choose one with corruption.sigma=")
        if run.sigma is None:
            raise UserError("the run was trained without a corruption: choose the noise with corruption.sigma=")
        cfg.corruption.sigma = run.sigma
    return Certification(cfg, run)


def images_of(dataset: Dataset) -> Callable[[int], tuple[Tensor, int]]:
    """Return a function: index -> (float32 image [C,H,W] in [0,1], label), which checks the label."""

    def load(index: int) -> tuple[Tensor, int]:
        image, label = dataset[index]
        # Contiguous, because the memory layout of an image can change how sums are rounded.
        return to_float(image).contiguous(), label

    return load


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
