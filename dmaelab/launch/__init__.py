"""Starting work: a training, an evaluation, a certification, or a pipeline of them, in one or several processes.

Read :mod:`~dmaelab.launch.job` first: a job says as plain data what is to be done. Then read
:mod:`~dmaelab.launch.work`: a work is what a command asks for, tasks with their jobs. Then read
:mod:`~dmaelab.launch.launcher`: a launcher starts the processes that do a work, and ``choose_launcher`` is the only
place that selects one. :mod:`~dmaelab.launch.pipeline` plans a work from its stages and gives it to a launcher.
:mod:`~dmaelab.launch.cluster` has the launchers that return before the work is finished.

To add a launcher, for example for another cluster, write one file with a class that has the method ``launch(work)`` and
a constructor that takes ``processes``. ``--launcher my_project.launcher.MyLauncher`` chooses it; a line in
``LAUNCHERS`` gives it a short name. A simple launcher does the jobs of ``work.in_order()`` one after the other. One
that does several at once starts a task when those in its ``after`` are finished. ``job.spread`` says how several
processes can share a job. To use N processes, the launcher pickles the job and starts N tasks; task i calls
``job.part(i, N)()``, which prints one line if there is an error, and ends the process with the right exit status.
"""
