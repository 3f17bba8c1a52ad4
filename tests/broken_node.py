"""A plug-in for the tests: one that cannot be imported by the second process of a job, as on a node that is broken."""

import os

if os.environ.get("RANK") == "1":
    raise RuntimeError("this node is broken")
