"""Data sets, their registry, and the loaders that yield micro-batches. It does not import torchvision."""

from dmaelab.data.base import Dataset
from dmaelab.data.batch import Batch, Samples, make_batch, to_device, to_float
from dmaelab.data.build import DATASETS, build_dataset
from dmaelab.data.cifar10 import CIFAR10
from dmaelab.data.digits import Digits
from dmaelab.data.fashion_mnist import FashionMNIST
from dmaelab.data.generated import Generated
from dmaelab.data.image_folder import ImageFolder
from dmaelab.data.imagenet import ImageNet
from dmaelab.data.loader import Loader, build_test_loader, build_train_loader, resident_device
from dmaelab.data.sampler import InfiniteSampler, MicroBatch
from dmaelab.data.subset import select_indices

__all__ = [
    "CIFAR10",
    "DATASETS",
    "Batch",
    "Dataset",
    "Digits",
    "FashionMNIST",
    "Generated",
    "ImageFolder",
    "ImageNet",
    "InfiniteSampler",
    "Loader",
    "MicroBatch",
    "Samples",
    "build_dataset",
    "build_test_loader",
    "build_train_loader",
    "make_batch",
    "resident_device",
    "select_indices",
    "to_device",
    "to_float",
]
