"""Environments through the simulators' official clients: a folder per simulator, and what they share beside them."""
