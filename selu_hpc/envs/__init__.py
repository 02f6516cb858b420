"""Environments through the simulators' official clients."""
