"""The gate job under the name that jobs call which were queued before engines/slurm/ was a folder.

`submit --accept-code` lays this code under them: else they would die, and with them the close job that mends a run.
"""

from selu_hpc.engines.slurm.gate_job import main
from selu_hpc.terminal import enter

if __name__ == "__main__":
    enter(main)
