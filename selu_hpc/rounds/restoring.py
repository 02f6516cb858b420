"""How to have a run's config.yaml back, by what its provenance.json remembers.

Apart from rundir.py, whose `require` says it of a run that has lost it, and beside recipes/, which says it of one that
cannot be read. Does not restore anything.
"""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selu_hpc.rounds.rundir import RunDir


def how_to_restore(run: RunDir) -> str:
    """What brings back a run's config.yaml, by the words of the submit that began it."""
    words, what = [], ", with --recipe, --set and --seed as the run was begun"
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        program, *given = json.loads(run.provenance_file.read_bytes())["command"]
        if program.endswith("submit.py"):
            named = {number for number, word in enumerate(given) if "--run" in (word, *given[:number][-1:])}
            words = [word for number, word in enumerate(given) if number not in named and word[:6] != "--run="]
            what = ""
    again = shlex.join(["python", "-m", "selu_hpc.submit", *words, "--print-config"])
    return f"restore it from a copy, or write it anew: `{again} > {shlex.quote(str(run.config_file))}`{what}"
