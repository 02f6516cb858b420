"""VirtualHome: environment.py is what an episode meets, process.py the build or its stand-in behind it."""
