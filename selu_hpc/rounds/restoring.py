"""How to have a run's config.yaml back, by what its provenance.json remembers.

Said by rundir.py of a run that has lost it, and by recipes/ of one that cannot be read. Does not restore anything.
"""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from pathlib import Path


def how_to_restore(config_file: Path, provenance_file: Path) -> str:
    """What brings back a run's config.yaml, by the words of the submit that began it."""
    words, what = [], ", with --recipe, --set and --seed as the run was begun"
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        program, *given = json.loads(provenance_file.read_bytes())["command"]
        if program.endswith("submit.py"):
            named = {number for number, word in enumerate(given) if "--run" in (word, *given[:number][-1:])}
            words = [word for number, word in enumerate(given) if number not in named and word[:6] != "--run="]
            what = ""
    again = shlex.join(["python", "-m", "selu_hpc.submit", *words, "--print-config"])
    return f"restore it from a copy, or write it anew: `{again} > {shlex.quote(str(config_file))}`{what}"
