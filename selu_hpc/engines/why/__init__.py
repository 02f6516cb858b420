"""Why a run is where it is: facts are fetched first (facts.py), what follows from them is decided without looking."""
