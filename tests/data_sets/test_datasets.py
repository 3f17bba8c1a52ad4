"""The contract of a data set, over the registry; and what each one does besides."""

import gzip
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from dmaelab.data import DATASETS, build_dataset
from dmaelab.data.base import declared_classes
from dmaelab.data.digits import split_indices
from dmaelab.testing import check_dataset
from dmaelab.utils.errors import UserError

OPTIONS = {
    "cifar10": lambda fixture: {"root": fixture("cifar_root")},
    "digits": lambda fixture: {},
    "fashion_mnist": lambda fixture: {"root": fixture("fashion_root")},
    "generated": lambda fixture: {},
    "image_folder": lambda fixture: {"root": fixture("image_root")},
    "imagenet": lambda fixture: {"root": fixture("imagenet_root"), "split": "val"},
}


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_the_classes_are_known_without_building_the_data_set(name, request, monkeypatch):
    """And without reading an image, and the same as those of the data set itself."""
    options = {key: str(value) for key, value in OPTIONS[name](request.getfixturevalue).items()}
    dataset = build_dataset(name, **options)
    monkeypatch.setattr("dmaelab.data.image_folder._image_files", None)
    check_dataset(dataset, options)
    assert list(declared_classes(type(dataset), options)) == dataset.classes
    assert dataset.num_classes >= 2


@pytest.mark.parametrize("name", ["image_folder", "imagenet"])
@pytest.mark.parametrize("root", [None, "nowhere", "s3://bucket/data", "empty"])
def test_the_classes_of_missing_data_are_not_known(name, root, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DMAELAB_DATA", raising=False)
    assert declared_classes(DATASETS.get(name), {"root": root}) is None


def test_the_classes_of_an_imagenet_without_meta_file_are_not_known(imagenet_root):
    arguments = {"root": str(imagenet_root), "split": "val"}
    (imagenet_root / "val" / "n99999999").mkdir()
    assert declared_classes(DATASETS.get("imagenet"), arguments) is None
    (imagenet_root / "val" / "n99999999").rmdir()
    assert declared_classes(DATASETS.get("imagenet"), arguments)[0] == "tench, Tinca tinca"
    (imagenet_root / "meta.bin").write_bytes(b"torn")
    assert declared_classes(DATASETS.get("imagenet"), arguments) is None
    (imagenet_root / "meta.bin").unlink()
    assert declared_classes(DATASETS.get("imagenet"), arguments) is None


@pytest.fixture(params=DATASETS.names())
def dataset(request):
    if request.param not in OPTIONS:
        pytest.skip(f"'{request.param}' has no tiny files here: a plug-in tests its own data set")
    options = OPTIONS[request.param](request.getfixturevalue)
    return build_dataset(request.param, **{key: str(value) for key, value in options.items()})


def test_contract(dataset):
    check_dataset(dataset)
    assert dataset.targets.dtype == torch.int64
    _, label = dataset[1]
    assert (type(label), label) == (int, dataset.load(1)[1])


def test_importing_the_room_imports_nothing_heavy():
    code = "import dmaelab.data, sys; sys.exit(any(name in sys.modules for name in ('torchvision', 'PIL', 'sklearn')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", ["cifar10", "digits", "fashion_mnist", "generated", "imagenet"])
def test_unknown_split_names_the_splits(name):
    with pytest.raises(
        UserError, match=f"data set '{name}' has no split 'tran' \\(did you mean 'train'\\?\\); it has train, "
    ):
        build_dataset(name, split="tran")


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist", "image_folder", "imagenet"])
def test_missing_root_is_one_line(name, tmp_path):
    with pytest.raises(UserError, match=f"data set '{name}': there is no folder {tmp_path}/no;") as error:
        build_dataset(name, root=str(tmp_path / "no"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist", "image_folder", "imagenet"])
def test_empty_root_is_one_line(name, tmp_path):
    with pytest.raises(UserError, match=str(tmp_path)) as error:
        build_dataset(name, root=str(tmp_path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist"])
def test_failed_download_is_one_line(name, tmp_path, monkeypatch):
    from urllib.error import URLError

    def offline(*args, **kwargs):
        raise URLError("no network\nhere")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(UserError, match=f"data set '{name}' in {tmp_path}/new: the download failed") as error:
        build_dataset(name, root=str(tmp_path / "new"), download=True)
    assert "\n" not in str(error.value)


def test_digits_values_and_splits():
    from sklearn.datasets import load_digits

    grey, labels = load_digits(return_X_y=True)
    splits = {split: build_dataset("digits", split=split) for split in ("train", "val", "test")}
    assert [len(part) for part in splits.values()] == [1397, 200, 200]
    indices = {split: split_indices(labels, split) for split in splits}
    assert sorted(np.concatenate(list(indices.values()))) == list(range(1797))  # disjoint and complete
    for split in ("val", "test"):
        assert splits[split].targets.bincount().tolist() == [20] * 10
        assert np.diff(np.flatnonzero(labels[indices[split]] == 3)).min() > 0
        assert indices[split][0] < 60  # they run through the whole file
        assert indices[split][-1] > 1737
    test = splits["test"]
    assert test.image_shape == (1, 8, 8)
    expected = np.round(grey[indices["test"]] * 255 / 16)  # 8 -> 127.5 -> 128 either way
    np.testing.assert_array_equal(test.images.flatten(1).numpy(), expected)
    np.testing.assert_array_equal(test.targets, labels[indices["test"]])


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match="needs scikit-learn: pip install scikit-learn"):
        build_dataset("digits")


def test_cifar10_reads_planes_and_splits(cifar_root):
    train, test = (
        build_dataset("cifar10", root=str(cifar_root)),
        build_dataset("cifar10", root=str(cifar_root), split="test"),
    )
    assert (len(train), len(test)) == (20, 4)
    assert test.classes[3] == "cat"
    entry = pickle.loads((cifar_root / "cifar-10-batches-py" / "test_batch").read_bytes())
    assert torch.equal(test.images.flatten(1), torch.from_numpy(entry["data"]))
    assert test.targets.tolist() == entry["labels"]


def test_cifar10_damaged(cifar_root):
    (cifar_root / "cifar-10-batches-py" / "data_batch_3").write_bytes(b"torn")
    with pytest.raises(UserError, match="no intact cifar-10-batches-py there; set download=True"):
        build_dataset("cifar10", root=str(cifar_root))


def test_fashion_mnist_also_where_torchvision_puts_it(fashion_root):
    test = build_dataset("fashion_mnist", root=str(fashion_root), split="test")
    assert test.image_shape == (1, 28, 28)
    assert test.targets.tolist() == list(range(10))
    raw = fashion_root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in fashion_root.glob("t10k*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert torch.equal(
        build_dataset("fashion_mnist", root=str(fashion_root), split="test", download=True).images, test.images
    )


@pytest.mark.parametrize("keep", [0, 300, 900])
def test_fashion_mnist_damaged(fashion_root, keep):
    file = fashion_root / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(UserError, match=f"{file} is damaged"):
        build_dataset("fashion_mnist", root=str(fashion_root))


def test_fashion_mnist_labels_of_another_split(fashion_root):
    (fashion_root / "t10k-labels-idx1-ubyte.gz").replace(fashion_root / "train-labels-idx1-ubyte.gz")
    with pytest.raises(UserError, match="do not belong together"):
        build_dataset("fashion_mnist", root=str(fashion_root))


def test_imagenet_names_and_crop(imagenet_root):
    val = build_dataset("imagenet", root=str(imagenet_root), split="val", image_size=8, resize=10)
    assert val.classes == ["tench, Tinca tinca", "goldfish, Carassius auratus"]
    assert val.targets.tolist() == [0, 0, 1, 1]
    assert val.image_shape == tuple(val.load(3)[0].shape) == (3, 8, 8)


def test_generated_images_are_always_the_same_and_differ_between_splits():
    options = {"count": 31, "image_size": 9, "num_classes": 3, "channels": 2}
    train, again, test = (build_dataset("generated", **options, split=split) for split in ("train", "train", "test"))
    assert train.images.shape == (31, 2, 9, 9)
    assert sorted(train.targets.bincount().tolist()) == [10, 10, 11]
    assert torch.equal(train.images, again.images)
    assert torch.equal(train.targets, again.targets)
    assert not (train.images == test.images).flatten(1).all(1).any()


def test_generated_classes_can_be_learned_from_one_split_for_the_other():
    train, test = (build_dataset("generated", count=64, split=split) for split in ("train", "test"))
    means = torch.stack([train.images[train.targets == label].float().mean(0) for label in range(10)])
    nearest = torch.cdist(test.images.float().flatten(1), means.flatten(1)).argmin(1)
    assert torch.equal(nearest, test.targets)
    assert test.images.float().std(0).mean() > 30  # and images of a class are far from equal


@pytest.mark.parametrize("wrong", [{"count": 0}, {"image_size": 0}, {"channels": 0}, {"num_classes": 1}])
def test_generated_refuses_numbers_that_are_too_small(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        build_dataset("generated", **wrong)
