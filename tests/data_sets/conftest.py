"""Tiny files in the real formats, so that the real loading code runs without a network."""

import gzip
import hashlib
import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image

torch.set_num_threads(1)


@pytest.fixture
def save_image():
    """Write an image file of random colours; return its path."""

    def save(path, height=12, width=10, mode="RGB", seed=0):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
        return path

    return save


@pytest.fixture
def image_root(tmp_path, save_image):
    """An image folder with 4 cats and 3 dogs of 12 x 10 pixels, saved as PNG, in split "train"."""
    for seed, name in enumerate(["cat/1", "cat/2", "cat/3", "cat/4", "dog/1", "dog/2", "dog/3"]):
        save_image(tmp_path / "pets" / "train" / f"{name}.png", seed=seed)
    return tmp_path / "pets"


@pytest.fixture
def fashion_root(tmp_path):
    """Gzipped IDX files of 12 training and 10 test images, straight in the root."""
    root = tmp_path / "fashion"
    root.mkdir()
    for prefix, count in (("train", 12), ("t10k", 10)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = struct.pack(">BBBBIII", 0, 0, 8, 3, count, 28, 28) + pixels.tobytes()
        (root / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
        (root / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, count) + labels.tobytes())
        )
    return root


@pytest.fixture
def cifar_root(tmp_path, monkeypatch):
    """The pickled batches of CIFAR-10 with 4 images each; torchvision expects their checksums."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / "cifar" / "cifar-10-batches-py"
    folder.mkdir(parents=True)

    def write(name, content):
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch(name, seed):
        rng = np.random.default_rng(seed)
        return [
            name,
            write(
                name,
                {"data": rng.integers(0, 256, (4, 3072), dtype=np.uint8), "labels": rng.integers(0, 10, 4).tolist()},
            ),
        ]

    monkeypatch.setattr(CIFAR10, "train_list", [batch(f"data_batch_{i}", i) for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch", 6)])
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    meta = {"filename": "batches.meta", "key": "label_names", "md5": write("batches.meta", {"label_names": names})}
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return folder.parent


@pytest.fixture
def imagenet_root(tmp_path, save_image):
    """An unpacked ImageNet of two classes: torchvision needs the split's folders and its own meta.bin."""
    root = tmp_path / "imagenet"
    for seed, name in enumerate(["n01440764/a", "n01440764/b", "n01443537/a", "n01443537/b"]):
        save_image(root / "val" / f"{name}.JPEG", height=20 + seed, width=30, seed=seed)
    wnids = {"n01440764": ("tench", "Tinca tinca"), "n01443537": ("goldfish", "Carassius auratus")}
    torch.save((wnids, ["n01440764"] * 2 + ["n01443537"] * 2), root / "meta.bin")
    return root
