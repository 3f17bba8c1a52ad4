"""The keys of a log's identity, grouped by the question that they answer.

A certification writes these keys, see :func:`dmaelab.smoothing.identity.make_identity`. Code that asks whether two logs
agree in some respect compares the keys of that group. Keys that follow from others, such as ``tau``, are in no group.
"""

STATISTICS = ("n", "n0", "alpha", "certifier")
"""By which statistics were votes turned into certificates?"""

NOISE = ("corruption", "sigma", "geometry", "norm")
"""Which noise was added, and how do radii follow from it?"""

CLASSIFIER = ("network", "model", "weights", "classes", "precision", "plugins")
"""Which classifier was smoothed, and with which arithmetic?"""

IMAGES = ("dataset", "first_image", "shape")
"""From which data set are the images?"""
