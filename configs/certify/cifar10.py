"""Certification of a CIFAR-10 run as in Table 3 of the paper: all 10,000 test images, n = 100,000.

    python tools/certify.py certify/cifar10 certify.run=runs/cifar10_224/cr_0.25 --processes auto

This takes a billion forwards of 35 GFLOP each: about 100 hours at 100 TFLOP per second. certifier.name=sequential
needs only a fraction of the samples for the same radii; give it a certify.name of its own.
"""

from ..common.debug import CERTIFY as debug
from .default import certifier, certify, corruption

certify.update(name="cifar10", precision="fp16", batch_size=1000)
certifier.n = 100000
