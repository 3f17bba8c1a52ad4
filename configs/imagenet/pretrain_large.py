"""DMAE pre-training of ViT-L on ImageNet: 1600 epochs, Table 7 of the paper.

    torchrun --nproc-per-node 8 tools/train_net.py --config-file configs/imagenet/pretrain_large.py
    python tools/train_net.py --config-file imagenet/pretrain_large --debug        # a trial without data

24 blocks, as in the released weights and the paper's 304M parameters; its text says 16. Everything else as
imagenet/pretrain_base.
"""

from ..common.debug import pretrain as _debug
from .pretrain_base import data, labels, model, optimizer, schedule, train

model.encoder.name = "vit_large"
train.update(out_dir="runs/imagenet/dmae_large", epochs=1600, milestones={})
debug = _debug(224)
