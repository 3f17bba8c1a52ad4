"""DMAE pre-training of ViT-L on ImageNet: 1600 epochs, Table 7 of the paper.

    torchrun --nproc-per-node 8 tools/train_net.py --config-file configs/imagenet/pretrain_large.py
    python tools/train_net.py --config-file imagenet/pretrain_large --debug        # a trial without data

The model has 24 blocks, as the released weights and the 304M parameters of the paper imply; the text of the paper says
16. All other settings are those of imagenet/pretrain_base.
"""

from ..common.debug import pretrain as _debug
from .pretrain_base import data, labels, model, optimizer, schedule, train

model.encoder.name = "vit_large"
train.update(out_dir="runs/imagenet/dmae_large", epochs=1600, milestones={})
debug = _debug(224)
