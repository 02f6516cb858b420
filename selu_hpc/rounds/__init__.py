"""The run as a plan, a folder and seals: what must happen, and what has."""
