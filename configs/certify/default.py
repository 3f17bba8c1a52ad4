"""Certification of any fine-tuned run: CERTIFY of Cohen et al. (2019) with n0 = 100, n and alpha of the paper.

    python tools/certify.py runs/digits/rs dataset.split=test
    python tools/certify.py runs/digits/rs dataset.split=test certifier.n=100000 certify.subset='{"count": 50}' \\
        certify.name=fifty

Settings that are missing or None here are taken from the run: sigma from its training, the data set from its data.test.
For digits this is the split "val", on which the settings were chosen, so the commands name the split "test".
"""

from dmaelab.config import LazyCall as L
from dmaelab.corruptions import build_corruption
from dmaelab.smoothing import build_certifier

certify = dict(run=None, weights="final", name="default", subset=None, seed=0, batch_size=1000, precision="fp32")
certifier = L(build_certifier)(name="cohen", n=10000, alpha=0.001)
corruption = L(build_corruption)(name="gaussian", sigma=None)
