"""Classes are compared before anything is computed: those of a head, of data sets, and of files of weights.

Label k must mean the same class everywhere. Otherwise a training ends in an error of the device, or, worse, accuracies
and radii come out that mean nothing.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, Self

import torch
from omegaconf import DictConfig
from torch import nn

from dmaelab.config.plain import interpolated
from dmaelab.config.targets import locate
from dmaelab.data import Dataset
from dmaelab.data.base import declared_classes
from dmaelab.utils.class_labels import NO_LABEL
from dmaelab.utils.distributed import gather, is_main
from dmaelab.utils.errors import ConfigError, UserError
from dmaelab.weights.facts import CLASSES, class_names_in, class_names_of, name_classes
from dmaelab.weights.files import Weights

logger = logging.getLogger("dmaelab")

_WHAT_TO_DO = {
    "train": "set num_classes of the model, or choose other data",
    "certify": "set the section dataset to another one",
}
_SHOWN = 3  # differing names in a message


@dataclass(frozen=True)
class ClassList:
    """The classes of a head, a data set or a file of weights.

    Attributes:
        where: words for messages, such as "data.train".
        count: number of classes K.
        names: their names in label order; None if they are not known.
        unlabelled: index of the first image without a label; None if there is none.
    """

    where: str
    count: int
    names: tuple[str, ...] | None = None
    unlabelled: int | None = None

    @classmethod
    def of_dataset(cls, where: str, dataset: Dataset, indices: Sequence[int] | None = None) -> Self:
        """Return the classes of a data set; ``indices`` are the images that need a label, by default all."""
        targets = dataset.targets if indices is None else dataset.targets[torch.as_tensor(indices, dtype=torch.int64)]
        found = (targets == NO_LABEL).nonzero().flatten()[:1].tolist()
        unlabelled = None if not found else found[0] if indices is None else indices[found[0]]
        return cls(where, dataset.num_classes, tuple(map(str, dataset.classes)), unlabelled)

    @classmethod
    def of_model(cls, where: str, model: nn.Module) -> Self | None:
        """Return the classes of a classifier; None for a module that does not say how many it has."""
        count = getattr(model, "num_classes", None)
        names = class_names_of(model)
        return cls(where, count, None if names is None else tuple(names)) if isinstance(count, int) else None

    @classmethod
    def of_node(cls, where: str, node: Any) -> Self | None:
        """Return the classes of the data set that a config node describes, without building it; None if not known."""
        try:
            names = _declared(node)
        except UserError as error:
            raise ConfigError(f"{where}: {error}") from error
        return None if names is None else cls(where, len(names), tuple(map(str, names)))


def compare_classes(lists: Sequence[ClassList | None], section: str, ignore_names: bool = False) -> None:
    """Compare the classes of everything that takes part in a training, an evaluation or a certification.

    Args:
        lists: the classes; the first one is the reference. None stands for classes that are not known.
        section: section of the config that has the key ``ignore_class_names``, "train" or "certify".
        ignore_names: only warn if names differ.

    Raises:
        ConfigError: numbers or names differ, or an image has no label. The message is one line.
    """
    known = [classes for classes in lists if classes is not None]
    for classes in known:
        if classes.unlabelled is not None:
            raise ConfigError(
                f"{classes.where}: image {classes.unlabelled} has no label (-1): a classifier is trained, evaluated and"
                " certified on labelled images only"
            )
        if classes.count != known[0].count:
            names = _differing(known[0], classes)
            raise ConfigError(
                f"{known[0].where} has {known[0].count} classes, but {classes.where} has {classes.count}"
                f"{f' ({names})' if names else ''}: {_WHAT_TO_DO[section]}; for folders of images, classes=[...] lists"
                " all folders in label order"
            )
    named = [classes for classes in known if classes.names is not None]
    for classes in named[1:]:
        if names := _differing(named[0], classes):
            if not ignore_names:
                raise ConfigError(
                    f"other classes: {names}: choose data with the same classes; for folders of images, classes=[...]"
                    f" lists them in label order; if only the names differ, set {section}.ignore_class_names=True"
                )
            if is_main():
                logger.warning("warning: class names differ, but %s.ignore_class_names is set: %s", section, names)


def check_training_classes(
    model: nn.Module, datasets: Mapping[str, Dataset], stored: Sequence[str] | None, cfg: DictConfig
) -> None:
    """Compare head, data sets and checkpoint of a training, and set the ``class_names`` of the classifier.

    Nothing is compared for a model without a head, such as an autoencoder. With several processes this is collective:
    each of them sees the classes of all, so that all raise the same error, or none.

    Args:
        model: the module whose weights are saved, such as a classifier.
        datasets: name in the config -> data set; the first one gives the names.
        stored: class names in the checkpoint that the training continues from; None if there are none.
        cfg: the training config.

    Raises:
        ConfigError: :func:`compare_classes` raises it.
    """
    head = ClassList.of_model("the head", model)
    if head is None:
        return
    key = _head_key(cfg)
    data = [ClassList.of_dataset(name, dataset) for name, dataset in datasets.items()]
    lists = [data[0], replace(head, where=f"the head ({key})" if key else "the head", names=None), *data[1:]]
    if stored is not None:
        lists.append(ClassList("the checkpoint", len(stored), tuple(stored)))
    first, *rest = gather(tuple(lists))
    lists = list(first)
    for rank, others in enumerate(rest, 1):  # only what differs from the first process is compared again
        lists += [replace(other, where=f"{other.where} of process {rank}") for other in others if other not in lists]
    compare_classes(lists, "train", cfg.train.get("ignore_class_names", False))
    name_classes(model, {CLASSES: list(data[0].names or ())}, data[0].where)


def check_declared_classes(cfg: DictConfig) -> None:
    """Compare head and data sets of a training config as far as they are known without building anything.

    Raises:
        ConfigError: :func:`compare_classes` raises it.
    """
    key = _head_key(cfg)
    if key is None:
        return
    head = head_of_node(f"the head ({key})", cfg.model.get("classifier", cfg.model))
    data = [ClassList.of_node(f"data.{split}", cfg.data[split]) for split in ("train", "test")]
    compare_classes([data[0], head, data[1]], "train", cfg.train.get("ignore_class_names", False))


def head_of_node(where: str, node: Any) -> ClassList | None:
    """Return the number of classes that the config node of a classifier gives; None if it gives none."""
    count = node.get("num_classes") if isinstance(node, DictConfig) else None
    return ClassList(where, count) if isinstance(count, int) else None


def warn_of_other_head(weights: Weights, model: nn.Module) -> None:
    """Warn if a training starts from a head that was trained for other classes; it is still a valid start."""
    stored, own = class_names_in(weights.facts, weights.source), class_names_of(model)
    if stored is None or own is None:
        return
    there, here = ClassList(weights.source, len(stored), tuple(stored)), ClassList("data.train", len(own), tuple(own))
    if (names := _differing(there, here)) and is_main():
        logger.warning("warning: the initial weights of the head are those of other classes: %s", names)


def _head_key(cfg: DictConfig) -> str | None:
    """Return the key of the head's number of classes in a training config; None if the config has no such number."""
    keys = {"model.classifier.num_classes": cfg.model.get("classifier"), "model.num_classes": cfg.model}
    return next((key for key, node in keys.items() if head_of_node(key, node) is not None), None)


def _differing(there: ClassList, here: ClassList) -> str:
    """Return the first labels whose names differ, in words; empty if there are none or names are not known."""
    if there.names is None or here.names is None:
        return ""
    pairs = [pair for pair in enumerate(zip_longest(there.names, here.names)) if pair[1][0] != pair[1][1]]
    words = [
        f"label {label} is {_shown(a)} in {there.where} and {_shown(b)} in {here.where}"
        for label, (a, b) in pairs[:_SHOWN]
    ]
    more = [f"{len(pairs) - _SHOWN} more labels differ"] if len(pairs) > _SHOWN else []
    return ", ".join([*words, *more])


def _shown(name: str | None) -> str:
    return "missing" if name is None else repr(name)


def _declared(node: Any) -> Sequence[str] | None:
    """Return what :meth:`Dataset.classes_of` says for a config node; None if there is no data set of that kind."""
    tree = interpolated(node)
    if not isinstance(tree, dict) or "_target_" not in tree or tree.get("_partial_"):
        return None
    arguments = {name: value for name, value in tree.items() if name != "_target_"}
    entry = locate(tree["_target_"])
    registry = getattr(entry, "registry", None)
    if registry is not None:
        entry = registry.get(arguments.pop("name"))
    if not (isinstance(entry, type) and issubclass(entry, Dataset)):
        return None
    try:
        return declared_classes(entry, arguments)
    except OSError:  # the data cannot be listed here
        return None
