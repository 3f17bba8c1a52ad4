"""Settings that the small trainings share. dmaelab/engine/settings.py describes all keys of `train`."""

from dmaelab.config import LazyCall as L
from dmaelab.solver import build_adamw, warmup_cosine

optimizer = L(build_adamw)(lr=1.5e-4, weight_decay=0.05, betas=(0.9, 0.95))
schedule = L(warmup_cosine)(warmup=0.05)
train = dict(out_dir="runs/default", max_iter=1000, batch_size=256, seed=0, precision="auto")
