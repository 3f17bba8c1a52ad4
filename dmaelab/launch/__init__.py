"""Starting work: a training, an evaluation, a certification, or a pipeline of them, in one or several processes.

Read :mod:`~dmaelab.launch.job` first: a job describes the work as plain data. Then read
:mod:`~dmaelab.launch.launcher`: a launcher starts the processes that do the work, and ``choose_launcher`` is the only
place that selects one. :mod:`~dmaelab.launch.pipeline` gives the jobs of its stages to a launcher, one after the other.

To add a launcher, for example for a cluster, write one file with a class that has the method ``launch(job)`` and a
constructor that takes ``processes``. ``--launcher my_project.launcher.MyLauncher`` chooses it; a line in
``LAUNCHERS`` gives it a short name. To use N processes, the launcher pickles the job and starts N tasks; task i calls
``job.part(i, N)()``, which prints one line if there is an error, and ends the process with the right exit status.
"""
