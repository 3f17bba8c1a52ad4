"""CIFAR-10 for models with 224x224 inputs.

The original files are read from $DMAELAB_DATA/cifar10; data.train.download=true data.test.download=true downloads them.
Images and noise are at 32x32 and enlarged inside the model, so that certified radii hold for 32x32 images.
"""

from dmaelab.config import LazyCall as L
from dmaelab.data import build_dataset
from dmaelab.data.transforms import HorizontalFlip

MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2471, 0.2435, 0.2616]

data = dict(
    train=L(build_dataset)(name="cifar10", split="train"),
    test=L(build_dataset)(name="cifar10", split="test"),
    augment=[L(HorizontalFlip)()],
)
