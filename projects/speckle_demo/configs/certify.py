"""Certify the fine-tuned model with the certifier of this project.

    python tools/certify.py projects/speckle_demo/configs/certify.py

Run finetune.py first.
"""

from dmaelab.config import LazyCall as L
from dmaelab.config import get_config
from dmaelab.smoothing import build_certifier

_base = get_config("certify/default")
certify, corruption = _base.certify, _base.corruption

plugins = ["projects.speckle_demo"]
certifier = L(build_certifier)(name="cohen_two_looks", n=10_000, alpha=0.001, n_first=1000, share=0.2, target=0.25)
certify.update(run="runs/speckle/rs", name="two_looks", subset={"count": 100})
