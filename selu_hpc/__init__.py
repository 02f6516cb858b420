"""Self-learning embodied vision-language agents (SELU) on Slurm clusters; a command is a module of this package."""

__version__ = "0.1.0"
