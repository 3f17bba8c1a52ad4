"""Starting work: one training or certification, or a pipeline of them, in one process or in several.

Read :mod:`~dmaelab.launch.job` first: a job says what is to be done, as plain data. Then
:mod:`~dmaelab.launch.launcher`: a launcher says who does it, and ``choose_launcher`` is the only place that decides
which one. :mod:`~dmaelab.launch.pipeline` gives the jobs of its stages to a launcher, one after the other.

A new launcher, for a cluster say, is one file with a class that has the method ``launch(job)``, and one line in
``choose_launcher``. It pickles the job and lets each of its tasks call it: ``job()`` prints one line for an error and
ends with the right exit status. Of N tasks of a :class:`~dmaelab.launch.job.CertifyJob`, task i calls
``job.part(i, N)()``. The tasks of any other job all call ``job()``; before it each sets ``RANK``, ``WORLD_SIZE``,
``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT`` as torchrun does.
"""
