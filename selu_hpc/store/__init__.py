"""Trajectories in Zarr: the only code that knows the layout."""
