"""CR fine-tuning of ViT-B on CIFAR-10: Table 3 of the paper.

    python tools/train_net.py --config-file configs/cifar10_224/finetune_cr.py model.corruption.sigma=0.5
    python tools/train_net.py --config-file cifar10_224/finetune_cr --debug        # a trial without data

To start without continued pre-training, add train.init_from=runs/imagenet/dmae_base.

Certified accuracy (%) of the paper at radius 0.25, 0.5, 0.75, 1 (Table 3; all test images, n = 100,000, the best sigma
at each radius):
    after continued pre-training    80.8 67.1 49.7 37.7
    without                         79.2 64.6 47.3 36.1
Table 10 (1,000 images, n = 10,000) at radius 0, 0.25, 0.5, 0.75, 1, evaluated at sigma 0.25 and at 0.5:
    sigma 0.25   90.4 81.2 65.3 44.2 0     44.5 35.4 26.8 18.8 11.3
    sigma 0.5    72.2 65.2 54.1 41.6 0     74.5 66.5 57.3 46.3 34.7

Here the model of the last epoch is certified. The official code certifies the epoch that is best on every 10th *test*
image. To do the same, train with train.best_metric=smoothed_accuracy model.votes=100 train.eval_images=1000
train.eval_period=195, and certify with certify.weights=best. The log then has the label `selected_by`.
"""

from dmaelab.config import LazyCall as L
from dmaelab.losses import build_loss, paper_mu

from ..common.cifar10_224 import MEAN as _MEAN
from ..common.cifar10_224 import STD as _STD
from ..common.cifar10_224 import data
from ..common.debug import finetune as _debug
from ..imagenet.finetune_base_cr import labels, model, optimizer, schedule, train

model.classifier.update(num_classes=10, pixel_mean=_MEAN, pixel_std=_STD, input_size=224)
model.loss = L(build_loss)(
    name="cr", lam=2.0, mu=L(paper_mu)(sigma="${model.corruption.sigma}"), copies=2, label_smoothing=0.1
)
model.mixing = None
schedule.final = 1e-6 / 5e-4
train.update(
    out_dir="runs/cifar10_224/cr_${model.corruption.sigma}",
    init_from="runs/cifar10_224/pretrain",
    epochs=50,
    batch_size=256,
    micro_batch=64,
    num_workers=0,
    eval_images=1000,
    eval_period=10 * 195,
    checkpoint_period=5 * 195,
)
labels.update(dataset="CIFAR-10", extra_data=True)
debug = _debug(32)
