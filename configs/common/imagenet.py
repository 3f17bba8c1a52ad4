"""ImageNet-1k from torchvision's folders: $DMAELAB_DATA/imagenet."""

from dmaelab.config import LazyCall as L
from dmaelab.data import build_dataset

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

# Evaluated and certified at Resize(256), CenterCrop(224), as the reference.
train = L(build_dataset)(name="imagenet", split="train", skip_corrupt=True)
test = L(build_dataset)(name="imagenet", split="val", image_size=224, resize=256)
