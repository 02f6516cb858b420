"""The journal survives torn lines; the lock lets one controller in and outlives dead ones."""

import errno
import json
import multiprocessing
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from selu_hpc.errors import LockedError, RunFolderError
from selu_hpc.rounds import lock
from selu_hpc.rounds.journal import Journal
from selu_hpc.rounds.lock import hold_lock, wait_for_lock


def test_events_come_back_in_order(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    for number in range(3):
        journal.append("ended", number=number, note="zwölf\n'\"")
    assert [e["number"] for e in journal] == [0, 1, 2]


def test_a_line_torn_by_a_crash_is_skipped_and_the_next_one_is_whole(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("one")
    with journal.path.open("ab") as file:
        file.write(b'{"event": "to')
    journal.append("two")
    assert [e["event"] for e in journal] == ["one", "two"]


def _append(path, count):
    for _ in range(count):
        Journal(path).append("from", pid=os.getpid(), padding="x" * 3000)


def test_a_line_that_is_no_event_is_left_out(tmp_path):
    journal = Journal(tmp_path / "journal.jsonl")
    journal.append("started")
    with journal.path.open("a") as file:
        file.write('{"time": 1}\n[]\n{"event": 3}\n')
    journal.append("ended")
    assert [event["event"] for event in journal] == ["started", "ended"]


def test_two_writers_never_mix_their_lines(tmp_path):
    path = tmp_path / "journal.jsonl"
    writers = [multiprocessing.get_context("spawn").Process(target=_append, args=(path, 40)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(list(Journal(path))) == 80


def test_a_second_controller_is_refused_and_told_who_holds_the_run(tmp_path):
    with (
        hold_lock(tmp_path / "lock", purpose="a local run"),
        pytest.raises(LockedError, match=f"a local run is at work in it \\(process {os.getpid()}"),
        hold_lock(tmp_path / "lock", purpose="another"),
    ):
        pass


def test_the_lock_is_free_after_its_block_and_leaves_no_file(tmp_path):
    for _ in range(2):
        with hold_lock(tmp_path / "lock", purpose="a local run"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_killed_controllers_lock_is_taken_over(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from selu_hpc.rounds.lock import hold_lock\n"
        "with hold_lock(Path(sys.argv[1]), purpose='doomed'): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "lock")], check=False)
    assert (tmp_path / "lock").exists()
    with hold_lock(tmp_path / "lock", purpose="heir"):
        assert '"heir"' in (tmp_path / "lock").read_text()


def dead_lock(path):
    """A lock whose holder was killed on this machine."""
    path.write_text(json.dumps({**lock._here(), "pid": 2**22 + 1, "born": "1", "purpose": "doomed"}))


@pytest.mark.parametrize("look", [1, 2])
def test_of_two_that_find_a_dead_lock_the_slower_does_not_take_it_from_the_faster(tmp_path, monkeypatch, look):
    """The faster comes in whole just after the slower has looked, at its first look or at its second."""
    path, read, looks = tmp_path / "lock", lock._read_owner, 0
    inside, most, come_in, leave = [], [], threading.Event(), threading.Event()
    dead_lock(path)

    def take(purpose, stay):
        with suppress(RunFolderError), hold_lock(path, purpose=purpose):
            inside.append(purpose)
            come_in.set()
            stay.wait(30)
            most.append(len(inside))
            inside.remove(purpose)

    def slow_read(asked, clock):
        nonlocal looks
        found = read(asked, clock)
        if threading.current_thread() is not faster:
            looks += 1
            if looks == look:
                faster.start()
                come_in.wait(1)
        return found

    faster = threading.Thread(target=take, args=("the faster", leave))
    at_once = threading.Event()
    at_once.set()
    monkeypatch.setattr(lock, "_read_owner", slow_read)
    take("the slower", at_once)
    leave.set()
    faster.join()
    assert looks >= look
    assert set(most) == {1}
    assert not path.exists()


def test_a_lock_taken_over_while_its_holder_was_away_is_left_to_its_heir_and_the_holder_told(tmp_path):
    path = tmp_path / "lock"
    with hold_lock(path, purpose="away for too long") as still_mine:
        still_mine()
        path.unlink()
        path.write_text("the heir's")
        with pytest.raises(RunFolderError, match="another command took this lock over"):
            still_mine()
    assert path.read_text() == "the heir's"


def test_a_live_process_that_proc_hides_keeps_its_lock_until_nobody_has_touched_it_for_long(tmp_path, monkeypatch):
    """As /proc is where it is mounted with hidepid and the process is another user's: os.kill may not, but sees it."""

    def hidden(pid, signal):
        raise PermissionError(1, "Operation not permitted")

    path = tmp_path / "lock"
    path.write_text(json.dumps({**lock._here(), "pid": 7, "born": "1", "purpose": "another user's"}))
    monkeypatch.setattr(lock, "_born", lambda pid: "2" if pid == os.getpid() else None)
    monkeypatch.setattr(lock.os, "kill", hidden)
    with pytest.raises(RunFolderError, match="another user's is at work"), hold_lock(path, purpose="heir"):
        pass
    os.utime(path, (1, 1))
    with hold_lock(path, purpose="heir"):
        assert '"heir"' in path.read_text()


@pytest.mark.parametrize("apart", [{"processes": "pid:[1]"}, {"boot": "another"}, {"boot": None, "processes": None}])
def test_a_holder_whose_processes_are_numbered_apart_keeps_its_lock_until_nobody_has_touched_it_for_long(
    tmp_path, apart
):
    """In a container, or on another machine of the same name; an older version did not write down which."""
    path = tmp_path / "lock"
    owner = {**lock._here(), "pid": 2**22 + 1, "born": "1", "purpose": "a container's"} | apart
    path.write_text(json.dumps(owner))
    assert lock.holder(path)["purpose"] == "a container's"
    with pytest.raises(LockedError, match="a container's is at work"), hold_lock(path, purpose="heir"):
        pass
    os.utime(path, (1, 1))
    with hold_lock(path, purpose="heir"):
        assert '"heir"' in path.read_text()


@pytest.mark.parametrize(
    "text", ["", "{", "3", "\xff", '{"host": "HERE", "pid": null}', '{"host": "HERE", "pid": "x"}']
)
def test_a_lock_that_a_power_cut_left_unreadable_goes_stale_like_any_other(tmp_path, text):
    path = tmp_path / "lock"
    path.write_bytes(text.replace("HERE", socket.gethostname()).encode("latin-1"))
    with pytest.raises(RunFolderError, match="is at work"), hold_lock(path, purpose="heir"):
        pass
    os.utime(path, (1, 1))
    with hold_lock(path, purpose="heir"):
        assert '"heir"' in path.read_text()


def test_a_file_server_that_is_away_for_a_moment_does_not_end_the_beat(tmp_path, monkeypatch):
    touched, again = [], threading.Event()

    def touch(path):
        touched.append(path)
        if len(touched) > 1:
            again.set()
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    monkeypatch.setattr(lock.os, "utime", touch)
    with hold_lock(tmp_path / "lock", purpose="a submit"):
        assert again.wait(30)


def test_a_breaker_that_was_killed_stops_nobody_for_long(tmp_path, monkeypatch):
    dead_lock(tmp_path / "lock")
    (tmp_path / "lock.breaking").write_text("")
    os.utime(tmp_path / "lock.breaking", (1, 1))
    with hold_lock(tmp_path / "lock", purpose="heir"):
        assert '"heir"' in (tmp_path / "lock").read_text()


def lock_of_elsewhere(path):
    """A lock that a live holder on another machine has just touched."""
    path.write_text(json.dumps({"host": "another", "pid": 7, "born": "1", "purpose": "a submit"}))


def test_a_clock_ahead_of_the_file_servers_breaks_no_live_lock(tmp_path, monkeypatch):
    now = time.time
    monkeypatch.setattr(lock.time, "time", lambda: now() + 2 * lock.STALE_S)
    lock_of_elsewhere(tmp_path / "lock")
    with pytest.raises(LockedError, match="a submit is at work"), hold_lock(tmp_path / "lock", purpose="a gate"):
        pass


def test_a_clock_ahead_of_the_file_servers_breaks_into_no_breaking(tmp_path, monkeypatch):
    now = time.time
    monkeypatch.setattr(lock.time, "time", lambda: now() + 2 * lock.STALE_S)
    monkeypatch.setattr(lock, "PAUSE_S", 0.0)
    dead_lock(tmp_path / "lock")
    lock_of_elsewhere(tmp_path / "lock.breaking")
    with pytest.raises(LockedError, match="again and again"), hold_lock(tmp_path / "lock", purpose="a gate"):
        pass
    assert (tmp_path / "lock.breaking").exists()


def test_a_clock_behind_the_file_servers_still_finds_a_lock_that_nobody_touches(tmp_path, monkeypatch):
    now = time.time
    monkeypatch.setattr(lock.time, "time", lambda: now() - 3600)
    lock_of_elsewhere(tmp_path / "lock")
    os.utime(tmp_path / "lock", (now() - 2 * lock.STALE_S, now() - 2 * lock.STALE_S))
    with hold_lock(tmp_path / "lock", purpose="a gate"):
        assert '"a gate"' in (tmp_path / "lock").read_text()


@pytest.mark.parametrize("call", ["stat", "read_text", "samefile", "unlink"])
def test_a_lock_that_another_machine_removes_meanwhile_is_looked_at_again(tmp_path, monkeypatch, call):
    path, real, stale = tmp_path / "lock", getattr(Path, call), []

    def once_stale(self, *args, **more):
        if self == path and not stale:
            stale.append(call)
            path.unlink(missing_ok=call != "unlink")
            raise OSError(errno.ESTALE, "Stale file handle", str(self))
        return real(self, *args, **more)

    if call != "unlink":
        lock_of_elsewhere(path)
    monkeypatch.setattr(Path, call, once_stale)
    with wait_for_lock(path, purpose="a gate", patience_s=30) as still_mine:
        still_mine()
    assert stale
    assert not path.exists()


def test_who_waits_gets_the_lock_when_it_is_free_and_gives_up_when_patience_ends(tmp_path):
    path = tmp_path / "lock"
    held, let_go = threading.Event(), threading.Event()

    def hold():
        with hold_lock(path, purpose="a submit"):
            held.set()
            let_go.wait(30)

    first = threading.Thread(target=hold)
    first.start()
    try:
        assert held.wait(30)
        with pytest.raises(LockedError, match="a submit is at work"), wait_for_lock(path, purpose="x", patience_s=0.0):
            pass
        threading.Timer(0.3, let_go.set).start()
        with wait_for_lock(path, purpose="a gate", patience_s=30) as still_mine:
            still_mine()
            assert lock.holder(path)["purpose"] == "a gate"
        assert not path.exists()
    finally:
        let_go.set()
        first.join()


def test_an_error_inside_the_block_is_never_taken_for_a_lock_that_is_held(tmp_path):
    with pytest.raises(LockedError, match="of another run"), wait_for_lock(tmp_path / "lock", purpose="a gate"):
        raise LockedError("a lock of another run")
    assert not (tmp_path / "lock").exists()
