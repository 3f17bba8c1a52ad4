"""Certification of a CIFAR-10 run as in Table 10 of the paper: 1,000 test images, n = 10,000.

    python tools/certify.py certify/cifar10_1000 certify.run=runs/cifar10_224/cr_multi corruption.sigma=0.5 \\
        certify.name=at_0.5

The paper does not say which images it takes. Here it is every 10th one.
"""

from ..common.debug import CERTIFY as debug
from .default import certifier, certify, corruption

certify.update(name="cifar10_1000", subset={"stride": 10}, precision="fp16", batch_size=1000)
