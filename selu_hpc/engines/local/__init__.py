"""The engine without a scheduler: shards as processes of this machine, on its cores and GPUs. Begin at engine.py."""
