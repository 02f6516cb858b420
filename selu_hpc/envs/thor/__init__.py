"""AI2-THOR: environment.py is what an episode meets, client.py the official Controller behind it."""
