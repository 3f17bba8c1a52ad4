"""DMAE pre-training on CIFAR-10 at 32x32 from an image folder, with a ViT small enough for two CPU cores.

    export DMAELAB_DATA=/path/to/data        # holds cifar10-jpeg/{train,test}/<class>/*.jpg
    python tools/train_net.py --config-file configs/cifar10/pretrain.py

You have to make this folder yourself. For the original files, in $DMAELAB_DATA/cifar10/cifar-10-batches-py, add

    data.train.name=cifar10 '~data.train.root' '~data.train.in_memory' \\
    data.test.name=cifar10 '~data.test.root' '~data.test.in_memory'

and, to download them, data.train.download=true data.test.download=true. The other configs of this folder take the same.
pipelines/cifar10_original trains and certifies on the original files.
"""

from dmaelab.config import LazyCall as L
from dmaelab.corruptions import build_corruption
from dmaelab.data import build_dataset
from dmaelab.data.transforms import HorizontalFlip
from dmaelab.losses import build_loss
from dmaelab.modeling import DenoisingMAE, MAEDecoder, build_backbone

from ..common.train import optimizer, schedule, train

model = L(DenoisingMAE)(
    encoder=L(build_backbone)(
        name="vit",
        width=128,
        depth=4,
        num_heads=4,
        mlp_ratio=4.0,
        image_size=32,
        patch_size=4,
        pool=None,
        attention="auto",
    ),
    decoder=L(MAEDecoder)(_partial_=True, width=64, depth=1, num_heads=4),
    corruption=L(build_corruption)(name="gaussian", sigma=0.25),
    loss=L(build_loss)(name="mse_all_patches"),
    pixel_mean=[0.4914, 0.4822, 0.4465],
    pixel_std=[0.2471, 0.2435, 0.2616],
    mask_ratio=0.75,
    norm_pix=False,
)
data = dict(
    train=L(build_dataset)(name="image_folder", root="cifar10-jpeg", split="train", in_memory=True),
    test=L(build_dataset)(name="image_folder", root="cifar10-jpeg", split="test", in_memory=True),
    augment=[L(HorizontalFlip)()],
)
labels = dict(pretrain="DMAE")
optimizer.lr = 1.5e-3
train.update(
    out_dir="runs/cifar10/pretrain",
    max_iter=4000,
    batch_size=256,
    log_period=100,
    eval_images=1000,
    checkpoint_period=1000,
)
