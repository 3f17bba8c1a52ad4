"""Starting work: a training, an evaluation, a certification, or a pipeline of them, in one or several processes.

Read :mod:`~dmaelab.launch.job` first: a job describes the work as plain data. Then read
:mod:`~dmaelab.launch.launcher`: a launcher starts the processes that do the work, and ``choose_launcher`` is the only
place that selects one. :mod:`~dmaelab.launch.pipeline` gives the jobs of its stages to a launcher, one after the other.

To add a launcher, for example for a cluster, write one file with a class that has the method ``launch(job)``, and add
one line to ``choose_launcher``. The launcher pickles the job and starts N tasks that call it. ``job()`` prints one line
if there is an error, and ends the process with the right exit status. Task i of a
:class:`~dmaelab.launch.job.CertifyJob` calls ``job.part(i, N)()``. The tasks of any other job all call ``job()``, after
setting ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR`` and ``MASTER_PORT`` as torchrun does.
"""
