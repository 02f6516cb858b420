#!/usr/bin/env python3
"""A real Slurm with accounting on one Debian or Ubuntu machine, for tests and for people who want to try.

    sudo python3 tests/cluster/cluster.py up        # installs what it needs, then about 10 s
    sudo python3 tests/cluster/cluster.py shell     # a shell as the user `selu`, sbatch and squeue at hand
    sudo python3 tests/cluster/cluster.py status
    sudo python3 tests/cluster/cluster.py down      # stops every daemon, removes its folder and the rights it gave

Packages, the users selu and selu2 with their homes, and their group stay when it is down.
munge, MariaDB, slurmdbd, slurmctld, three cpu nodes, one gpu node with eight gres; partitions cpu, gpu and preempt
(on the cpu nodes, requeued by jobs of cpu). Daemons are started by hand: no systemd is needed. All state lies in
one folder (`SELU_CLUSTER`, default /tmp/selu-cluster). Needs only Python's standard library. For tests only: the
daemons run as root and trust everyone on this machine.
"""

from __future__ import annotations

import argparse
import grp
import os
import pwd
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

STATE = Path(os.environ.get("SELU_CLUSTER", "/tmp/selu-cluster")).absolute()
HERE = Path(__file__).resolve().parent
REPO = HERE.parents[1]
USERS = ("selu", "selu2")
GROUP = "selulab"
PORT = int(os.environ.get("SELU_CLUSTER_PORT", "17100"))
CPU_NODES = ("c1", "c2", "c3")
NODES = (*CPU_NODES, "g1")
GPUS = 8
PACKAGES = ["slurmctld", "slurmd", "slurm-client", "slurmdbd", "munge", "mariadb-server", "acl"]
DAEMONS = ("slurmctld", "slurmdbd", *NODES)
TOOLS = ["munged", "mariadbd", "slurmctld", "slurmd", "slurmdbd", "sbatch", "setfacl"]


class ClusterError(Exception):
    """Something this machine lacks or refuses; the message says what to do."""


def up() -> None:
    if os.geteuid() != 0:
        raise ClusterError("run this as root: it starts daemons and makes the users the jobs run as")
    if is_up():
        return
    down()
    install()
    make_users()
    make_folders()
    write_configs()
    start_munge()
    start_database()
    start("slurmdbd", ["slurmdbd", "-D"])
    wait_until("slurmdbd", lambda: ok(["sacctmgr", "-n", "list", "cluster"]))
    ok(["sacctmgr", "-i", "add", "cluster", "selu"])
    start("slurmctld", ["slurmctld", "-D", "-i"])
    for node in NODES:
        start_node(node)
    add_accounts()
    wait_until("all nodes idle", all_idle)
    let_users_in()


def down() -> None:
    """Stop what `up` started, by the process ids it wrote; take back every right it gave."""
    for name in (*(f"slurmd-{n}" for n in NODES), "slurmctld", "slurmdbd", "mariadbd", "munged"):
        stop(name)
    for path in read_lines(STATE / "acl"):
        let_nobody_in(path)
    shutil.rmtree(STATE, ignore_errors=True)


def let_nobody_in(path: str) -> None:
    """Take back the users' rights to pass through a folder, and the mask that came with them where it is of no use."""
    for user in USERS:
        quiet(["setfacl", "-x", f"u:{user}", path])
    entries = output(["getfacl", "--omit-header", "--absolute-names", path]).split()
    plain = ("user::", "group::", "other::", "mask::")
    if entries and all(entry.startswith(plain) for entry in entries if not entry.startswith("#effective")):
        quiet(["setfacl", "-b", path])


def require_up() -> None:
    """For what uses the cluster without asking: it installs packages, makes users and leaves daemons running."""
    if os.geteuid() != 0:
        raise ClusterError("run this as root: it acts as the users that jobs run as")
    if not is_up():
        raise ClusterError(
            "no test cluster here; `python tests/cluster/cluster.py up` installs Slurm, MariaDB and munge, makes two "
            "users and starts nine daemons; `down` stops them"
        )


def is_up() -> bool:
    return (STATE / "etc" / "slurm.conf").is_file() and "is UP" in output(["scontrol", "ping"]) and all_idle()


def install() -> None:
    if all(shutil.which(tool) for tool in TOOLS):
        return
    if not shutil.which("apt-get"):
        raise ClusterError(f"this machine has no apt-get; install {', '.join(PACKAGES)} by hand")
    policy = Path("/usr/sbin/policy-rc.d")
    made = not policy.exists()
    if made:  # the packages' own services would take the default ports
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        apt = ["apt-get", "-qq", "-oAcquire::Retries=3"]
        install_command = [*apt, "install", "-y", "--no-install-recommends", *PACKAGES]
        if subprocess.run(install_command, env=environment, stdout=subprocess.DEVNULL).returncode:
            subprocess.run([*apt, "update"], env=environment, check=True)
            subprocess.run(install_command, env=environment, check=True, stdout=subprocess.DEVNULL)
    finally:
        if made:
            policy.unlink()


def make_users() -> None:
    if not exists(grp.getgrnam, GROUP):
        subprocess.run(["groupadd", GROUP], check=True)
    for user in USERS:
        if not exists(pwd.getpwnam, user):
            subprocess.run(["useradd", "--create-home", "--shell", "/bin/bash", "--groups", GROUP, user], check=True)


def make_folders() -> None:
    for name in ("etc", "log", "pids", "ctld", "spool", "dev", "run"):
        (STATE / name).mkdir(parents=True, exist_ok=True)
    STATE.chmod(0o755)
    shared = STATE / "shared"
    shared.mkdir(exist_ok=True)
    shutil.chown(shared, USERS[0], GROUP)
    shared.chmod(0o2775)
    for gpu in range(GPUS):
        device = STATE / "dev" / f"gpu{gpu}"
        if not device.exists():
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            device.chmod(0o666)


def write_configs() -> None:
    host = socket.gethostname()
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20)
    fill = {"state": STATE, "host": host, "ctld": PORT, "dbd": PORT + 1, "db": PORT + 2, "memory": max(memory_mb, 8000)}
    for name in ("slurm.conf", "slurmdbd.conf", "gres.conf"):
        text = (HERE / f"{name}.in").read_text()
        for key, value in fill.items():
            text = text.replace(f"@{key}@", str(value))
        target = STATE / "etc" / name
        if name == "slurm.conf":
            text += "".join(node_line(node, host, PORT + 10 + i, fill["memory"]) for i, node in enumerate(NODES))
        target.write_text(text)
        target.chmod(0o600 if name == "slurmdbd.conf" else 0o644)


def node_line(node: str, host: str, port: int, memory_mb: int) -> str:
    gres = f" Gres=gpu:{GPUS} Feature=gpu,a100" if node.startswith("g") else " Feature=cpu"
    cpus = 64 if node.startswith("g") else 8
    return (
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
        f"CPUs={cpus} RealMemory={memory_mb}{gres} State=UNKNOWN\n"
    )


def start_munge() -> None:
    key, run = STATE / "etc" / "munge.key", STATE / "run"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    seed = STATE / "etc" / "munge.seed"
    command = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={run}/munge.socket"]
    start("munged", [*command, f"--pid-file={run}/munged.pid", f"--seed-file={seed}", "--num-threads=4"])
    wait_until("munge", lambda: ok(["munge", "-n", f"--socket={run}/munge.socket"]))


def start_database() -> None:
    data = STATE / "mysql"
    data.mkdir()
    shutil.chown(data, "mysql", "mysql")
    common = ["--no-defaults", "--user=mysql", f"--datadir={data}"]
    subprocess.run(
        ["mariadb-install-db", *common, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    socket_file = data / "socket"
    small = ["--innodb-buffer-pool-size=64M", "--innodb-flush-log-at-trx-commit=0", "--innodb-lock-wait-timeout=900"]
    where = [f"--port={PORT + 2}", "--bind-address=127.0.0.1", f"--socket={socket_file}", f"--pid-file={data}/pid"]
    start("mariadbd", ["mariadbd", *common, *small, *where])
    client = ["mariadb", "--no-defaults", f"--socket={socket_file}", "-uroot"]
    wait_until("MariaDB", lambda: ok([*client, "-e", "select 1"]))
    grants = "create database slurm; create user slurm@'%' identified by 'slurm'; grant all on slurm.* to slurm@'%';"
    subprocess.run([*client, "-e", grants + " create user slurm@localhost identified by 'slurm'; "
                    "grant all on slurm.* to slurm@localhost;"], check=True)  # fmt: skip


def add_accounts() -> None:
    wait_until("slurmctld", lambda: "is UP" in output(["scontrol", "ping"]))
    ok(["sacctmgr", "-i", "add", "account", "lab", "Description=lab", "Organization=lab"])
    for user in USERS:
        ok(["sacctmgr", "-i", "add", "user", user, "Account=lab"])


def start_node(node: str) -> None:
    (STATE / "spool" / node).mkdir(exist_ok=True)
    start(f"slurmd-{node}", ["slurmd", "-D", "-N", node])


def stop_node(node: str) -> None:
    """As if the machine lost power: the daemon and those of the steps are killed, and nobody reports anything."""
    stop(f"slurmd-{node}", hard=True)
    # A step's daemon hides its arguments and has no parent left; its socket in the node's folder tells whose it is.
    lines = (line.split() for line in Path("/proc/net/unix").read_text().splitlines())
    sockets = {f"socket:[{line[6]}]" for line in lines if line[-1].startswith(f"{STATE}/spool/{node}/")}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            is_step = b"slurmstepd" in (process / "cmdline").read_bytes()
            if is_step and any(str(one.readlink()) in sockets for one in (process / "fd").iterdir()):
                os.kill(int(process.name), signal.SIGKILL)


def let_users_in() -> None:
    """Give the users the right to pass through (not to list) every folder above the repository and the Python.

    A clone may lie under /root, and its environment's python in /root/.pyenv; jobs of another user must read both.
    """
    wanted = {REPO, Path(sys.prefix), Path(sys.base_prefix)}
    for environment in (REPO / ".venv", Path(os.environ.get("VIRTUAL_ENV", REPO / ".venv"))):
        python = environment / "bin" / "python"
        if python.exists():
            wanted |= {environment.resolve(), python.resolve().parent}
    closed = {
        str(folder)
        for path in wanted
        for folder in (path, *path.parents)
        if folder.is_dir() and not folder.stat().st_mode & stat.S_IXOTH
    }
    for folder in sorted(closed):
        for user in USERS:
            subprocess.run(["setfacl", "-m", f"u:{user}:x", folder], check=True)
    (STATE / "acl").write_text("".join(f"{folder}\n" for folder in sorted(closed)))


def all_idle() -> bool:
    states = output(["sinfo", "-h", "-N", "-o", "%N %t"]).split("\n")
    idle = {line.split()[0] for line in states if line.endswith((" idle", " mix", " alloc"))}
    return idle >= set(NODES)


def environment() -> dict[str, str]:
    return {**os.environ, "SLURM_CONF": str(STATE / "etc" / "slurm.conf"), "SLURM_DBD_CONF": str(STATE / "etc")}


def start(name: str, command: list[str]) -> None:
    """Start a daemon in a session of its own; its id is kept for `stop`."""
    program = shutil.which(command[0]) or f"/usr/sbin/{command[0]}"
    with (STATE / "log" / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [program, *command[1:]],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )
    (STATE / "pids" / name).write_text(str(process.pid))
    process.returncode = 0  # a daemon outlives us: else Popen warns that it still runs, which pytest calls a failure


def stop(name: str, *, hard: bool = False) -> None:
    file = STATE / "pids" / name
    with suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = int(file.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if name.partition("-")[0].encode() in command:
            os.kill(pid, signal.SIGKILL if hard else signal.SIGTERM)
            wait_until(f"the end of {name}", lambda: is_gone(pid), limit_s=15, fatal=False)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    file.unlink(missing_ok=True)


def is_gone(pid: int) -> bool:
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until(what: str, condition, *, limit_s: float = 240, fatal: bool = True) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            if fatal:
                raise ClusterError(f"{what}: not there after {limit_s:.0f} s; read {STATE}/log")
            return
        time.sleep(0.1)


def output(command: list[str]) -> str:
    try:
        return subprocess.run(
            command, env=environment(), capture_output=True, text=True, timeout=60, check=False
        ).stdout
    except OSError:
        return ""


def ok(command: list[str]) -> bool:
    try:
        return quiet(command).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def quiet(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, env=environment(), capture_output=True, timeout=60, check=False)


def exists(find, name: str) -> bool:
    try:
        find(name)
    except KeyError:
        return False
    return True


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def as_user(user: str, command: list[str], *, extra: dict[str, str] | None = None) -> list[str]:
    """The command line that runs a command as a user with a login environment of its own and Slurm at hand."""
    home = pwd.getpwnam(user).pw_dir
    passed = {"HOME": home, "USER": user, "LOGNAME": user, "SLURM_CONF": str(STATE / "etc" / "slurm.conf")}
    passed |= {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **(extra or {})}
    pairs = [f"{key}={value}" for key, value in passed.items()]
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "env", "-i", *pairs, *command]


def main() -> int:
    parser = argparse.ArgumentParser(description="A real four-node Slurm on this machine, for tests.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "up", help="install packages that are missing, make two users, start nine daemons; does nothing when it is up"
    )
    commands.add_parser("down", help="stop the daemons and remove their folder; packages, users and homes stay")
    commands.add_parser("status", help="say what runs; exit code 0 when all nodes serve")
    commands.add_parser("env", help="print the line that lets a shell use this Slurm")
    commands.add_parser("shell", help="a shell as the test user")
    run = commands.add_parser("run", help="run a command as the test user: run -- sbatch …")
    run.add_argument("--user", default=USERS[0])
    run.add_argument("words", nargs=argparse.REMAINDER)
    for verb in ("stop-daemon", "start-daemon"):
        commands.add_parser(verb, help=f"one of {', '.join(DAEMONS)}").add_argument("name", choices=DAEMONS)
    options = parser.parse_args()
    try:
        return act(options)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def act(options: argparse.Namespace) -> int:
    begun = time.monotonic()
    if options.command == "up":
        up()
        print(f"{output(['sinfo'])}up in {time.monotonic() - begun:.1f} s; state in {STATE}")
    elif options.command == "down":
        down()
    elif options.command == "status":
        print(output(["sinfo"]) or "not up", output(["squeue"]), sep="\n")
        return 0 if is_up() else 1
    elif options.command == "env":
        print(f"export SLURM_CONF={shlex.quote(str(STATE / 'etc' / 'slurm.conf'))}")
    elif options.command == "shell":
        os.chdir(STATE / "shared")
        os.execvp("setpriv", as_user(USERS[0], ["bash", "-i"]))
    elif options.command == "run":
        words = options.words[1:] if options.words[:1] == ["--"] else options.words
        os.execvp("setpriv", as_user(options.user, words))
    elif options.command == "stop-daemon":
        stop_node(options.name) if options.name in NODES else stop(options.name)
    elif options.name in NODES:
        start_node(options.name)
    else:
        start(options.name, [options.name, "-D"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
