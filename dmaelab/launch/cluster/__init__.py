"""Work that goes on after the command has returned: jobs of SLURM, and a background process of this machine.

The way of a job: :mod:`.slurm` or :mod:`.local` submits a :class:`~.entry.ClusterTask`, which submitit pickles. On the
node it starts :mod:`.child`, which does the work of the job, and watches it: it passes signals on, puts the job into
the queue again after a preemption, and writes down how it ended (:mod:`.records`). :mod:`.status`, :mod:`.follow` and
:mod:`.cancel` read these records, and ask the scheduler (:mod:`.scheduler`); they need nothing but the folder.
"""
