"""A plug-in project: a backbone of another library, a data set of one's own, and a trainer."""

from projects.timm_demo import backbone, dataset  # noqa: F401 - importing them registers their entries
