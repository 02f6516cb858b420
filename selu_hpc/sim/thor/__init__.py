"""AI2-THOR's household: its state, its rules and what its client reads."""
