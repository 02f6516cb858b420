"""A checkout's copy on a disk that fills up; that it has the checkout's bytes is test_snapshot.py's."""

import os
import resource
import subprocess

from selu_hpc.rounds.copying import copy_call


def test_a_file_that_the_disk_takes_a_part_of_is_no_copy(tmp_path):
    source = tmp_path / "checkout" / "selu_hpc" / "one.py"
    source.parent.mkdir(parents=True)
    source.write_bytes(b"x" * 2000)
    done = subprocess.run(
        copy_call(str(tmp_path / "checkout")),
        input=os.fsencode(tmp_path / "copy"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY)),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"File too large" in done.stderr
