"""run_certification: certify the classifier of a finished run, or any other, on a frozen config."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from dmaelab.config import LazyConfig, check, instantiate, list_configs, load_plugins, open_config
from dmaelab.data import Dataset, select_indices, to_float
from dmaelab.engine import run_dir
from dmaelab.engine.settings import CertifySettings
from dmaelab.smoothing import Case, Smoothing, certify_images
from dmaelab.smoothing.noise import smoothing_noise
from dmaelab.utils.distributed import pick_device
from dmaelab.utils.errors import ConfigError, UserError, did_you_mean

logger = logging.getLogger("dmaelab")

SECTIONS = {"certify": CertifySettings}
_NODES = ("certifier", "corruption", "dataset")
_OWN = "classifier"
DEFAULT = "certify/default"


def certification_config(source: str | Path, overrides: Sequence[str] = ()) -> DictConfig:
    """Return a complete, checked certification config from a run directory or a config file, with overrides.

    A run directory takes the config :data:`DEFAULT`. See :func:`complete` for what the run fills in. A config with
    a section ``classifier`` (any module, [0,1] images -> logits) needs no run: it names ``certify.out_dir``,
    ``dataset`` and ``corruption.sigma`` itself.

    Raises:
        UserError: there is no such run or config, or :func:`complete` refuses.
    """
    source = Path(source)
    if not (source.is_dir() or source.suffix in (".py", ".yaml", ".yml")) and str(source) not in (
        known := list_configs()
    ):
        raise ConfigError(
            f"{source}: there is no such run directory, and no config of that name{did_you_mean(str(source), known)}"
        )
    run = (
        [f"certify.run={source}"]
        if source.is_dir()
        else [text for text in overrides if text.startswith("certify.run=")]
    )
    cfg = open_config(DEFAULT if source.is_dir() else source, run, SECTIONS)
    if "certify" not in cfg:
        raise ConfigError(f"{source} is no certification config (it has no section 'certify'), and no run directory")
    if _OWN in cfg:
        cfg = LazyConfig.apply_overrides(cfg, overrides, sections=SECTIONS)
        check_certification(cfg)
        return cfg
    if cfg.certify.get("run") is None:
        raise ConfigError("certify.run: name the run directory to certify, or give the config a section 'classifier'")
    return complete(cfg, run_dir.load_run(cfg.certify.run), overrides)


def complete(cfg: DictConfig, run_cfg: DictConfig, overrides: Sequence[str] = ()) -> DictConfig:
    """Return ``cfg`` with what it leaves open taken from the config of the run that it certifies, and check it.

    ``dataset`` comes from the run's ``data.test``, and the plug-ins of both are needed; then the overrides
    are applied, and ``corruption.sigma`` comes from the noise of the training if it is still open.

    Raises:
        UserError: the run was trained on a range of sigma, or without a corruption, and no sigma is given.
    """
    if "dataset" not in cfg:
        cfg.dataset = run_cfg.data.test
    plugins = [*cfg.get("plugins", []), *run_cfg.get("plugins", [])]
    if plugins:
        cfg.plugins = list(dict.fromkeys(plugins))
        load_plugins(cfg)
    cfg = LazyConfig.apply_overrides(cfg, overrides, sections=SECTIONS)
    if cfg.corruption.get("sigma") is None:
        trained = _trained_sigma(run_cfg)
        if isinstance(trained, Sequence):
            raise UserError(f"the run was trained with sigma in {list(trained)}: choose one with corruption.sigma=")
        if trained is None:
            raise UserError("the run was trained without a corruption: give its noise with corruption.sigma=")
        cfg.corruption.sigma = trained
    check_certification(cfg)
    return cfg


def check_certification(cfg: DictConfig) -> None:
    """Check a whole certification config without data and model; UserError, one line, for the first fault."""
    for name in (*SECTIONS, *_NODES):
        if name not in cfg:
            raise ConfigError(f"{name}: a certification config needs this section")
    check(cfg, sections=SECTIONS, allowed=(*_NODES, _OWN, "debug"))
    settings = CertifySettings(**instantiate(cfg.certify))
    if _OWN in cfg and (settings.run is not None or settings.out_dir is None):
        raise ConfigError(
            "certify: a config with a section 'classifier' names certify.out_dir for its log, and no certify.run"
        )
    geometry, sigma = smoothing_noise(instantiate(cfg.corruption))
    instantiate(cfg.certifier).check(Case(2, geometry, sigma, tau=geometry.tau(sigma, 1), label=0))


def run_certification(cfg: DictConfig, shard: tuple[int, int] = (0, 1), progress: bool = True) -> Path:
    """Certify as a config of :func:`certification_config` says; return the folder of the log.

    Finished images of an earlier, killed attempt are skipped. ``shard=(i, N)`` takes every N-th image.

    Raises:
        UserError: bad input, or the folder holds another certification.
    """
    check_certification(cfg)
    settings = CertifySettings(**instantiate(cfg.certify))
    device = pick_device(settings.device)
    dataset = instantiate(cfg.dataset)
    classifier = load_classifier(cfg, device)
    if dataset.num_classes != getattr(classifier, "num_classes", dataset.num_classes):
        raise UserError(
            f"the classifier has {classifier.num_classes} classes and the data set {dataset.num_classes}: set another"
            " dataset"
        )
    corruption = instantiate(cfg.corruption)
    _, sigma = smoothing_noise(corruption)
    _warn_of_noise(cfg, sigma)
    out = log_folder(cfg)
    smoothing = Smoothing(
        classifier,
        corruption,
        dataset.num_classes,
        seed=settings.seed,
        arithmetic=settings.arithmetic,
        on_invalid=settings.on_invalid,
    )
    certify_images(
        smoothing,
        images_of(dataset),
        select_indices(len(dataset), settings.subset, dataset.targets),
        instantiate(cfg.certifier),
        out=out,
        batch_size=settings.batch_size,
        shard=shard,
        identity=certification_identity(cfg, device),
        context={
            "run": settings.run,
            "weights_file": settings.weights,
            "labels": labels_of(cfg),
            "threads": torch.get_num_threads(),
        },
        progress=progress,
    )
    return out


def log_folder(cfg: DictConfig) -> Path:
    """Return the folder of the log of a certification config."""
    return (
        Path(cfg.certify.get("out_dir") or cfg.certify.run) / "certify" / cfg.certify.get("name", CertifySettings.name)
    )


def labels_of(cfg: DictConfig) -> dict[str, Any]:
    """Return what tables group a log by: the ``labels`` of the run that is certified, and those of the certification
    over them.

    Weights that were chosen by a metric are marked with ``selected_by``: where ``data.test`` is what is certified,
    its images have had a say in their own certificates.
    """
    own = _plain(cfg.certify.get("labels") or {})
    if _OWN in cfg:
        return own
    run_cfg = run_dir.load_run(cfg.certify.run)
    selected = {}
    if run_dir.is_selected(cfg.certify.get("weights", "final")):
        selected = {"selected_by": f"{run_cfg.train.best_metric or 'a metric'} on data.test"}
    return {**_plain(run_cfg.get("labels") or {}), **own, **selected}


def load_classifier(cfg: DictConfig, device: torch.device) -> nn.Module:
    """Return what a certification config certifies: the module of its section ``classifier``, or that of its run.

    Raises:
        UserError: the run trained no classifier, or the section builds no module.
    """
    if _OWN in cfg:
        run_dir.set_attention(cfg.classifier, device, training=False)
        classifier = instantiate(cfg.classifier)
        if not isinstance(classifier, nn.Module):
            raise UserError(
                f"classifier: builds a {type(classifier).__name__}, not a torch.nn.Module that maps [0,1] images to"
                " logits"
            )
        return classifier.to(device).eval()
    settings = CertifySettings(**instantiate(cfg.certify))
    classifier = run_dir.load_model(str(settings.run), settings.weights, device).export()
    if not hasattr(classifier, "num_classes"):
        raise UserError(
            f"{settings.run} trained a {type(classifier).__name__}, which is no classifier: certify a fine-tuned run"
        )
    return classifier


def certification_identity(cfg: DictConfig, device: torch.device) -> dict[str, Any]:
    """Return what determines the rows besides noise, statistics and the tensors of the weights.

    The model's config stands for what no tensor shows (heads, input size); where the data lie does not matter.
    """
    model = cfg.classifier if _OWN in cfg else run_dir.load_run(cfg.certify.run).model
    run_dir.set_attention(model, device, training=False)
    places = ("root", "in_memory", "download")
    return {
        "model": _plain(model.get("classifier", model)),
        "dataset": {key: value for key, value in _plain(cfg.dataset).items() if key not in places},
        "plugins": _plain(cfg.get("plugins", [])),
    }


def images_of(dataset: Dataset) -> Callable[[int], tuple[Tensor, int]]:
    """Return index -> (float image in [0,1], label)."""

    def load(index: int) -> tuple[Tensor, int]:
        image, label = dataset.load(index)
        return to_float(image).contiguous(), label  # where a data set keeps its images must not change a sum's rounding

    return load


def _trained_sigma(run_cfg: DictConfig) -> float | Sequence[float] | None:
    """Return the level of noise of a training as its config has it: a number, a pair, or None without a corruption."""
    return (run_cfg.model.get("corruption") or {}).get("sigma")


def _warn_of_noise(cfg: DictConfig, sigma: float) -> None:
    """Warn where the noise of the certification is not what the model was trained with, if that is known."""
    if _OWN in cfg:
        return
    run_cfg = run_dir.load_run(cfg.certify.run)
    trained = _trained_sigma(run_cfg)
    if trained is None:
        return
    low, high = trained if isinstance(trained, Sequence) else (trained, trained)
    if not low <= sigma <= high:
        logger.warning("warning: certifying at sigma %s a model trained at %s: expect it to abstain", sigma, trained)
    names = cfg.corruption.get("name"), run_cfg.model.corruption.get("name")
    if names[0] != names[1]:
        logger.warning("warning: certifying with %s noise a model trained with %s", *names)


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
