"""One rank that makes several updates one after the other. Started by train.spawn.

python update_jobs.py JOBS.json     [{"folder": …, "base": …, "changes": {…}}, …]
"""

import json
import sys
from pathlib import Path

from make_update import Updater

for job in json.loads(Path(sys.argv[1]).read_text()):
    Updater.make(job["folder"], job["base"], job["changes"])()
