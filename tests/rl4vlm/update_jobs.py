"""One rank that makes several updates one after the other. Started by train.spawn.

python update_jobs.py JOBS.json     [{"folder": …, "base": …, "changes": {…}}, …]
"""

import json
import sys
from pathlib import Path

from make_update import Updater

from selu_hpc.logs import set_up_logging

set_up_logging()
for job in json.loads(Path(sys.argv[1]).read_text()):
    Updater.make(job["folder"], job["base"], job["changes"])()
