"""Continued DMAE pre-training of ViT-B on CIFAR-10: 50 epochs from the ImageNet weights (paper, Section 4.3).

    export DMAELAB_DATA=/path/to/data        # holds cifar10/cifar-10-batches-py
    python tools/train_net.py --config-file configs/cifar10_224/pretrain.py \\
        train.init_from=dmae_base_sigma_0.25_mask_0.75_1100e.pth \\
        labels.pretrain=DMAE labels.epochs=1100
    python tools/train_net.py --config-file cifar10_224/pretrain --debug        # a trial without data

To download CIFAR-10, add data.train.download=true data.test.download=true.

Encoder and decoder both start from the ImageNet weights. Data, pixel statistics and schedule are new. The official code
has 10 epochs of warm-up; the paper names none. The header of cifar10_224/finetune_cr quotes the paper's results.
"""

from ..common.cifar10_224 import MEAN as _MEAN
from ..common.cifar10_224 import STD as _STD
from ..common.cifar10_224 import data
from ..common.debug import pretrain as _debug
from ..imagenet.pretrain_base import model, optimizer, schedule, train

model.update(pixel_mean=_MEAN, pixel_std=_STD, input_size=224)
optimizer.lr.base_lr = 5e-5
schedule.warmup_epochs = 10
train.update(
    out_dir="runs/cifar10_224/pretrain",
    init_from="runs/imagenet/dmae_base",
    epochs=50,
    batch_size=512,
    num_workers=0,
    checkpoint_period=10 * 97,
    milestones={},
)
labels = dict(continued=True)
debug = _debug(32)
