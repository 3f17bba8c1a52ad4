"""DMAE pre-training of ViT-B on ImageNet: 1100 epochs, Table 7 of the paper.

    export DMAELAB_DATA=/path/to/data        # holds imagenet/, see configs/common/imagenet.py
    torchrun --nproc-per-node 8 tools/train_net.py --config-file configs/imagenet/pretrain_base.py
    python tools/train_net.py --config-file imagenet/pretrain_base --debug        # a trial without data

The paper gives no number for pre-training itself; the headers of the fine-tuning configs quote the results after
fine-tuning. Table 5 uses the checkpoint `epoch_700`.

train.batch_size counts the images of all processes. Each process takes train.micro_batch images at once: 64, as in the
official code, on any number of GPUs. A larger value is faster if it fits into memory. The official code trains in
fp16; train.precision=bf16 needs no loss scaling.
"""

from dmaelab.config import LazyCall as L
from dmaelab.corruptions import build_corruption
from dmaelab.data.transforms import HorizontalFlip, random_resized_crop
from dmaelab.losses import build_loss
from dmaelab.modeling import DenoisingMAE, MAEDecoder, build_backbone
from dmaelab.solver import build_adamw, scaled_lr, warmup_cosine_epochs

from ..common.debug import pretrain as _debug
from ..common.imagenet import MEAN as _MEAN
from ..common.imagenet import STD as _STD
from ..common.imagenet import test as _test
from ..common.imagenet import train as _train

model = L(DenoisingMAE)(
    encoder=L(build_backbone)(name="vit_base", pool=None, attention="auto"),
    decoder=L(MAEDecoder)(_partial_=True, width=512, depth=8, num_heads=16),
    corruption=L(build_corruption)(name="gaussian", sigma=0.25),
    loss=L(build_loss)(name="mse_all_patches"),
    pixel_mean=_MEAN,
    pixel_std=_STD,
    mask_ratio=0.75,
    norm_pix=True,
)
data = dict(
    train=_train,
    test=_test,
    transform=[L(random_resized_crop)(size=224, scale=(0.2, 1.0))],
    augment=[L(HorizontalFlip)()],
)
optimizer = L(build_adamw)(
    lr=L(scaled_lr)(base_lr=1.5e-4, batch_size="${train.batch_size}"), weight_decay=0.05, betas=(0.9, 0.95)
)
schedule = L(warmup_cosine_epochs)(warmup_epochs=40, epochs="${train.epochs}")
train = dict(
    out_dir="runs/imagenet/dmae_base",
    epochs=1100,
    batch_size=4096,
    micro_batch=64,
    seed=0,
    precision="fp16",
    num_workers=10,
    eval_images=1000,
    checkpoint_period=20 * 312,
    milestones={"epoch_700": 700},
)
labels = dict(pretrain="DMAE", epochs="${train.epochs}")
debug = [*_debug(224), "train.milestones={'epoch_700': 1}"]
