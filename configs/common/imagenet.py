"""ImageNet-1k from $DMAELAB_DATA/imagenet, as torchvision reads it.

The folder holds the official archives, ILSVRC2012_devkit_t12.tar.gz among them, which torchvision unpacks on first use.
For an unpacked train/<class>/ and val/<class>/ without the devkit, use image_folder, which gives the same labels:

    data.train.name=image_folder data.train.root=imagenet data.test.name=image_folder data.test.root=imagenet
"""

from dmaelab.config import LazyCall as L
from dmaelab.data import build_dataset

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

# Evaluation and certification use Resize(256) and CenterCrop(224), as the official code does.
train = L(build_dataset)(name="imagenet", split="train", skip_corrupt=True)
test = L(build_dataset)(name="imagenet", split="val", image_size=224, resize=256)
