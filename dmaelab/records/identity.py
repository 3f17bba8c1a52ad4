"""Keys of a log's identity, grouped by the question that they answer.

Code that asks whether two logs agree in some respect compares the keys of that group. Left out are keys that give other
random numbers (seed, version of the noise), keys that change only the last bits of logits (batch shape, memory format,
compilation, CUDA graph, attention), and keys that follow from others, such as ``tau``. The identity of a certification
consists of :func:`dmaelab.smoothing.identity.make_identity` and of
:meth:`dmaelab.engine.certification.Certification.identity`.
"""

STATISTICS = ("n", "n0", "alpha", "certifier")
"""By which statistics were votes turned into certificates?"""

NOISE = ("corruption", "sigma", "geometry", "norm")
"""Which noise was added, and how do radii follow from it?"""

CLASSIFIER = ("network", "model", "weights", "classes", "precision", "own_randomness", "plugins")
"""Which classifier was smoothed, and in which precision?"""

IMAGES = ("dataset", "first_image", "shape")
"""From which data set are the images?"""
