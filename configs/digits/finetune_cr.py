"""CR fine-tuning on digits: consistency between two noisy copies (Eq. 8), from the pre-trained encoder.

    python tools/train_net.py --config-file configs/digits/finetune_cr.py

Run digits/pretrain first. To train from scratch, add train.init_from=None.
"""

from dmaelab.config import LazyCall as L
from dmaelab.losses import build_loss

from .finetune_rs import data, model, optimizer, schedule, train

model.loss = L(build_loss)(name="cr", lam=4.0, mu=0.5, copies=2)
train.update(out_dir="runs/digits/cr")
