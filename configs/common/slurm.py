"""What your cluster needs, for --launcher slurm. Edit a copy of this file, and name it in $DMAELAB_SLURM.

dmaelab/engine/slurm_section.py describes all keys of `slurm`. A section `slurm` of a config, and overrides such as
slurm.nodes=2, win over this one. The commands in `setup` run in each job before Python starts; no config and no
override can set them.
"""

slurm = dict()  # such as dict(partition="gpu", account="mylab", gpus_per_node=4, cpus_per_task=12, time="1-00:00:00")
setup = []  # such as ["module load cuda"]
