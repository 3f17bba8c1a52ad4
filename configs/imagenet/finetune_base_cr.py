"""CR fine-tuning of ViT-B on ImageNet (Eq. 8, Table 8): the models of Tables 1, 2, 5 and 9.

    torchrun --nproc-per-node 8 tools/train_net.py --config-file configs/imagenet/finetune_base_cr.py \\
        model.corruption.sigma=0.5
    python tools/train_net.py --config-file imagenet/finetune_base_cr --debug        # a trial without data

sigma is 0.25, 0.5 or 1.0; mu of the loss is set from it. train.init_from is a run directory or a file. A file does not
say how it was pre-trained, so give the labels as well:
  * released DMAE weights: labels.pretrain=DMAE labels.epochs=1100
  * the 700-epoch model of Table 5, runs/imagenet/dmae_base/checkpoints/epoch_700.pth: labels.pretrain=DMAE
    labels.epochs=700
  * MAE weights of Table 9: labels.pretrain=MAE labels.epochs=1600

Certified accuracy (%) of the paper (Table 2; 1,000 images, n = 10,000) at radius 0, 0.5, 1, 1.5, 2, 3:
    sigma 0.25   78.1 69.6
    sigma 0.5    73.0 64.8 57.9 47.8
    sigma 1.0    58.0 53.3 47.1 41.7 35.4 22.5
At sigma 0.5, MAE instead of DMAE (Table 9):    72.0 64.1 55.9 46.2
After 700 epochs of pre-training (Table 5):
    sigma 0.25   78.8 68.8
    sigma 0.5    72.0 64.4 55.5 45.3
    sigma 1.0    56.4 50.7 46.2 40.4 34.9 23.3

RandAugment comes from timm: pip install timm.
Mixup and CutMix mix noisy images, as in the official code. model.mixing.after_noise=False mixes clean images.
"""

from dmaelab.config import LazyCall as L
from dmaelab.corruptions import build_corruption
from dmaelab.data.transforms import rand_augment, random_horizontal_flip, random_resized_crop
from dmaelab.losses import build_loss, paper_mu
from dmaelab.modeling import Classifier, Mixing, NoisyClassifier, build_backbone
from dmaelab.solver import build_adamw, scaled_lr, warmup_cosine_epochs

from ..common.debug import finetune as _debug
from ..common.imagenet import MEAN as _MEAN
from ..common.imagenet import STD as _STD
from ..common.imagenet import test as _test
from ..common.imagenet import train as _train

model = L(NoisyClassifier)(
    classifier=L(Classifier)(
        backbone=L(build_backbone)(name="vit_base", pool="gap", drop_path=0.1, attention="auto"),
        num_classes=1000,
        pixel_mean=_MEAN,
        pixel_std=_STD,
    ),
    corruption=L(build_corruption)(name="gaussian", sigma=0.25),
    loss=L(build_loss)(
        name="cr", lam=2.0, mu=L(paper_mu)(sigma="${model.corruption.sigma}"), copies=2, label_smoothing=0.1
    ),
    mixing=L(Mixing)(mixup=0.8, cutmix=1.0, after_noise=True),
)
data = dict(
    train=_train,
    test=_test,
    transform=[
        L(random_resized_crop)(size=224),
        L(random_horizontal_flip)(),
        L(rand_augment)(policy="rand-m9-mstd0.5-inc1", image_size=224),
    ],
)
optimizer = L(build_adamw)(
    lr=L(scaled_lr)(base_lr=5e-4, batch_size="${train.batch_size}"),
    weight_decay=0.05,
    betas=(0.9, 0.999),
    no_decay=["pos_embed", "cls_token"],
    layer_decay=0.65,
)
schedule = L(warmup_cosine_epochs)(warmup_epochs=5, epochs="${train.epochs}", final=1e-6 / 2e-3)
train = dict(
    out_dir="runs/imagenet/base_cr_${model.corruption.sigma}",
    init_from="runs/imagenet/dmae_base",
    epochs=100,
    batch_size=1024,
    micro_batch=32,
    seed=0,
    precision="fp16",
    num_workers=10,
    eval_images=5000,
    eval_period=10 * 1251,
    checkpoint_period=1251,
)
labels = dict(
    method="CR",
    backbone="ViT-B",
    params="87M",
    extra_data=False,
    dataset="ImageNet",
    sigma="${model.corruption.sigma}",
    seed="${train.seed}",
)
debug = _debug(224)
