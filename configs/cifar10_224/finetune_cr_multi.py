"""CR fine-tuning of ViT-B on CIFAR-10 for many noise levels: sigma ~ U[0, 0.75] for each image (paper, Table 10).

    python tools/train_net.py --config-file configs/cifar10_224/finetune_cr_multi.py
    python tools/train_net.py --config-file cifar10_224/finetune_cr_multi --debug        # a trial without data
    python tools/certify.py certify/cifar10_1000 certify.run=runs/cifar10_224/cr_multi corruption.sigma=0.5 \\
        certify.name=at_0.5

Certified accuracy (%) of the paper (Table 10; 1,000 images, n = 10,000) at radius 0, 0.25, 0.5, 0.75, 1:
    at sigma 0.25    90.2 80.9 66.1 45.2  0
    at sigma 0.5     75.6 67.4 58.5 45.7 35.5

The official code has no such training. We draw one sigma per image, which its noisy copies share; the paper does not
say this.
"""

from .finetune_cr import data, debug, labels, model, optimizer, schedule, train

model.corruption.sigma = (0.0, 0.75)
train.update(out_dir="runs/cifar10_224/cr_multi")
