"""Linear probe on noisy CIFAR-10 images at 32x32, on the frozen encoder of cifar10/pretrain.

    python tools/train_net.py --config-file configs/cifar10/probe.py

The trained part is a batch normalisation and one linear layer. The learning rate is the one of the paper's probe at
batch 16,384 (6.4). It is not scaled down to the smaller batch here, because training takes only 800 steps.
"""

from dmaelab.config import LazyCall as L
from dmaelab.data.transforms import HorizontalFlip
from dmaelab.solver import build_lars

from .finetune_rs import data, labels, model, schedule, train

model.classifier.backbone.pool = "cls"
model.classifier.head = "bn_linear"
model.train_backbone = False
data.augment = [L(HorizontalFlip)()]
optimizer = L(build_lars)(lr=6.4)
train.update(out_dir="runs/cifar10/probe", max_iter=800, batch_size=256)
labels.update(method="probe")
