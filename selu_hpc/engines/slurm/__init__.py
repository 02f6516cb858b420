"""The engine for Slurm.

Deciding is pure, doing is apart: reconcile.py says what must be sent, from the journal (ledger.py) and the queue
(state.py); submission.py carries it out through sending.py, launch.py and sbatch.py; scheduler.py alone calls Slurm's
commands. engine.py is where `submit` begins, gate_job.py what goes on with nobody logged in.
"""
