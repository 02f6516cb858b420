"""A THOR build that goes wrong: `faulty_build.py FAULT,FAULT,… FOLDER [the stand-in's arguments]`.

The n-th launch does the n-th fault (a file in FOLDER per launch counts them); once all are done, the build behaves.
While it hangs in an action there is a file FOLDER.hangs.
before-pipe and refuse end at once, hang-start never opens a pipe; the others happen in the middle of an action, while
the client waits for the answer.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

AFTER_ACTIONS = 11
"""Messages answered before a fault: start-up, a reset and a step or two."""


def main() -> None:
    faults, folder = sys.argv[1].split(","), Path(sys.argv[2])
    launch = len(list(folder.iterdir()))
    fault = faults[min(launch, len(faults) - 1)]
    (folder / f"{launch}-{fault}").touch()
    mark = hang_mark(folder)
    mark.unlink(missing_ok=True)
    if fault in ("before-pipe", "refuse"):
        print(f"no vulkan device ({fault})", file=sys.stderr, flush=True)
        sys.exit(0 if fault == "before-pipe" else 3)
    if fault == "hang-start":
        threading.Event().wait()
    from selu_hpc.sim import thor_build

    _fail_in_an_action(fault, mark)
    thor_build.main(sys.argv[3:])


def hang_mark(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.hangs")


def _fail_in_an_action(fault: str, mark: Path) -> None:
    from selu_hpc.sim.thor.session import Answer, Session

    real = Session.handle
    answered = 0

    def handle(self: Session, message: dict[str, object]) -> Answer:
        nonlocal answered
        answered += 1
        if answered == AFTER_ACTIONS:
            _fail(fault, mark)
        return real(self, message)

    Session.handle = handle  # type: ignore[method-assign]


def _fail(fault: str, mark: Path) -> None:
    match fault:
        case "abort" | "kill" | "segv":
            os.kill(os.getpid(), {"abort": signal.SIGABRT, "kill": signal.SIGKILL, "segv": signal.SIGSEGV}[fault])
        case "exit":
            os._exit(3)
        case "hang":
            mark.touch()
            threading.Event().wait()


if __name__ == "__main__":
    main()
