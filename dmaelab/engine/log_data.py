"""Compare a certification log with a data set that the user names: a log alone cannot show that its labels are true."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from dmaelab.certifiers.report import Finding
from dmaelab.config import LazyConfig, check, instantiate, open_config
from dmaelab.data import Dataset
from dmaelab.engine.certification import images_of
from dmaelab.engine.run_dir import RunDirectory
from dmaelab.records.readers import read_log
from dmaelab.smoothing.identity import image_hash
from dmaelab.utils.errors import ConfigError, UserError


def open_dataset(source: str | Path, overrides: Sequence[str] = ()) -> Dataset:
    """Return the data set of a config: its section ``dataset``, or else ``data.test``. Nothing else is built.

    Args:
        source: run directory, config file, or name of a config.
        overrides: ``dataset.key=value`` texts; they apply to either section.

    Raises:
        UserError: there is no such config, it names no data set, or the data cannot be read.
    """
    cfg = RunDirectory(source).config if Path(source).is_dir() else open_config(source)
    node = cfg.get("dataset") or (cfg.get("data") or {}).get("test")
    if node is None:
        raise ConfigError(f"{source} names no data set: give a config with a section 'dataset', or with data.test")
    alone = LazyConfig.apply_overrides({"dataset": OmegaConf.to_container(node, resolve=True)}, overrides)
    check(alone, allowed=("dataset",))
    dataset: Dataset = instantiate(alone.dataset)
    return dataset


def compare_with_data(folder: Path, dataset: Dataset) -> Finding:
    """Compare the images and labels of a log with a data set.

    Args:
        folder: folder of a log that :func:`~dmaelab.certifiers.verification.verify_log` accepts.
        dataset: the data set from which its images are said to be.

    Returns:
        A line for each image with another label.

    Raises:
        UserError: the data set has another number of classes or too few images, or the first image of the log is
            another one there. So it is not the data set of the log.
    """
    log = read_log(folder)
    classes, last, first = log.identity["classes"], int(log.index.max()), int(log.index.min())
    if dataset.num_classes != classes:
        raise UserError(f"{folder} has {classes} classes, but the data set {dataset.num_classes}: give another one")
    if last >= len(dataset):
        raise UserError(f"{folder} has image {last}, but the data set {len(dataset)} images: give another one")
    if image_hash(*images_of(dataset)(first)) != log.identity["first_image"]:
        raise UserError(
            f"{folder}: image {first} is another one in the data set, or has another label there: give the data set of"
            " the log, with its split (as in dataset.split=test)"
        )
    labels = dataset.targets[log.index].tolist()
    problems = [
        f"image {index}: label is {said}, in the data set it is {true}"
        for index, said, true in zip(log.index.tolist(), log.label.tolist(), labels, strict=True)
        if said != true
    ]
    if problems:
        return Finding(problems, f"{len(problems)} labels are not those of the data set")
    return Finding([], f"the labels of all {len(log)} rows are those of the data set")
