"""Linear probing of a frozen ViT-B on ImageNet under noise: Table 4 of the paper, one probe for each sigma.

    torchrun --nproc-per-node 8 tools/train_net.py --config-file configs/imagenet/probe_base.py \\
        model.corruption.sigma=0.5
    python tools/train_net.py --config-file imagenet/probe_base --debug        # a trial without data

To probe MAE, add train.init_from=mae_pretrain_vit_base.pth labels.pretrain=MAE labels.epochs=1600.

Certified accuracy (%) of the paper (Table 4; 1,000 images, n = 10,000) at radius 0, 0.5, 1, 1.5, 2, 3:
    sigma 0.25   DMAE 58.7 45.3                        MAE 32.5 13.3
    sigma 0.5    DMAE 26.4 16.7 10.6  5.1              MAE 13.3  6.9  2.6  0.1
    sigma 1.0    DMAE  7.6  5.4  3.5  2.4  1.6  0.4    MAE  3.0  2.2  1.2  0.5  0.4  0.0

The statistics of the batch normalisation are those of a micro-batch: 512 images, as in the official code, on any number
of GPUs.
"""

from dmaelab.config import LazyCall as L
from dmaelab.corruptions import build_corruption
from dmaelab.data.transforms import HorizontalFlip, single_draw_crop
from dmaelab.losses import build_loss
from dmaelab.modeling import Classifier, NoisyClassifier, build_backbone
from dmaelab.solver import build_lars, scaled_lr, warmup_cosine_epochs

from ..common.debug import finetune as _debug
from ..common.imagenet import MEAN as _MEAN
from ..common.imagenet import STD as _STD
from ..common.imagenet import test as _test
from ..common.imagenet import train as _train
from .finetune_base_cr import labels

model = L(NoisyClassifier)(
    classifier=L(Classifier)(
        backbone=L(build_backbone)(name="vit_base", pool="cls", attention="auto"),
        num_classes=1000,
        pixel_mean=_MEAN,
        pixel_std=_STD,
        head="bn_linear",
    ),
    corruption=L(build_corruption)(name="gaussian", sigma=0.25),
    loss=L(build_loss)(name="rs"),
    train_backbone=False,
)
data = dict(
    train=_train,
    test=_test,
    transform=[L(single_draw_crop)(size=224)],
    augment=[L(HorizontalFlip)()],
)
optimizer = L(build_lars)(lr=L(scaled_lr)(base_lr=0.1, batch_size="${train.batch_size}"))
schedule = L(warmup_cosine_epochs)(warmup_epochs=10, epochs="${train.epochs}")
train = dict(
    out_dir="runs/imagenet/probe_base_${model.corruption.sigma}",
    init_from="runs/imagenet/dmae_base",
    epochs=90,
    batch_size=16384,
    micro_batch=512,
    seed=0,
    precision="fp16",
    num_workers=10,
    eval_images=5000,
    checkpoint_period=78,
)
labels.update(method="probe")
debug = _debug(224)
