"""DMAE pre-training of ViT-H (patch 14) on ImageNet: in the official code, without weights or numbers in the paper.

    torchrun --nproc-per-node 8 tools/train_net.py --config-file configs/imagenet/pretrain_huge.py
    python tools/train_net.py --config-file imagenet/pretrain_huge --debug        # a trial without data

1600 epochs, as for ViT-L.
"""

from .pretrain_large import data, debug, labels, model, optimizer, schedule, train

model.encoder.name = "vit_huge"
train.update(out_dir="runs/imagenet/dmae_huge")
