"""What every process that we start is given: an end with its parent's, and no more threads than its share."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask the kernel to signal this process when the one that made it ends; Linux only."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def calm(threads: int) -> dict[str, str]:
    """Variables by which no library starts a thread for each core of the machine."""
    pools = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return {**pools, "TOKENIZERS_PARALLELISM": "false"}
