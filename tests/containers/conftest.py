"""Shelves of files that are no images; for tests marked `apptainer` real keys, a tiny real image and a registry."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from real_image import cluster, run

from selu_hpc.containers.apptainer import Apptainer
from selu_hpc.containers.registry import Place
from selu_hpc.containers.shelf import Made, Shelf

APPTAINER = Apptainer()
MADE = Made(commit="c0ffee", definition="d" * 12, dependencies="e" * 12)
NEEDS = [tool for tool in ("apptainer", "oras", "docker-registry") if shutil.which(tool) is None]


def pytest_collection_modifyitems(items):
    if not NEEDS:
        return
    why = pytest.mark.skip(reason=f"no {', '.join(NEEDS)} here: tests/containers/install.sh brings them")
    for item in items:
        if item.path.parent == Path(__file__).parent and item.get_closest_marker("apptainer"):
            item.add_marker(why)


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A node of this test's own, where nothing is remembered yet."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setenv("SELU_SCRATCH", str(tmp_path / "scratch"))


@pytest.fixture
def lab(tmp_path):
    """A shelf."""
    return Shelf(tmp_path / "lab")


@pytest.fixture
def shelved(lab, tmp_path):
    """A file on it that is no real image."""
    (tmp_path / "made.sif").write_bytes(b"an image" * 1000)
    lab.path.mkdir()
    return lab.add(tmp_path / "made.sif", name="selu_hpc", made=MADE)


@pytest.fixture
def mine(tmp_path):
    """Another shelf."""
    return Shelf(tmp_path / "mine")


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """Two keyrings by name: a stranger's, and the lab's, which holds the stranger's public key too."""
    folders = {}
    for name in ("lab", "stranger"):
        folders[name] = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("APPTAINER_KEYSDIR", str(folders[name]))
            APPTAINER.run(["key", "newpair", "-N", name, "-E", f"{name}@x.org", "-P", "", "-C", "", "--push=false"])
    export = ["apptainer", "key", "export", "--keysdir", str(folders["stranger"]), str(folders["stranger"] / "a.asc")]
    subprocess.run(export, input="0\n", text=True, check=True, capture_output=True)
    APPTAINER.run(["key", "import", "--keysdir", str(folders["lab"]), str(folders["stranger"] / "a.asc")])
    return folders


@pytest.fixture
def lab_keyring(keys, monkeypatch):
    monkeypatch.setenv("APPTAINER_KEYSDIR", str(keys["lab"]))


@pytest.fixture(scope="session")
def tiny_image(tmp_path_factory):
    """A real SIF of one file and some bytes that do not compress."""
    folder = tmp_path_factory.mktemp("tiny")
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp"):
        (folder / "root" / name).mkdir(parents=True)
    (folder / "root" / "payload").write_bytes(os.urandom(3_000_000))
    APPTAINER.run(["build", str(folder / "tiny.sif"), str(folder / "root")])
    return folder / "tiny.sif"


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "shelf")


@pytest.fixture
def entry(shelf, tiny_image):
    return shelf.copy_in(tiny_image, name="tiny")


class Registry:
    """docker-registry on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (folder / "config.yml").write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
            f"http: {{addr: '127.0.0.1:{self.port}'}}\n"
        )
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(self.folder / "config.yml")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def address(self) -> str:
        return f"oras://127.0.0.1:{self.port}"

    def place(self, tag: str = "v1") -> Place:
        return Place.parse(f"{self.address}/lab/tiny:{tag}")


@pytest.fixture
def registry(tmp_path):
    (tmp_path / "registry").mkdir()
    registry = Registry(tmp_path / "registry")
    yield registry
    registry.stop()


@pytest.fixture(scope="module")
def shared():
    """A folder that the test cluster's users share."""
    folder = cluster.STATE / "shared" / f"images-{os.getpid()}-{time.monotonic_ns()}"
    run("mkdir", "-m", "2775", str(folder))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def lasting_registry(tmp_path_factory):
    registry = Registry(tmp_path_factory.mktemp("registry"))
    yield registry
    registry.stop()
    shutil.rmtree(registry.folder)


class CuttingProxy:
    """Stands between a client and a registry, and cuts every connection once `limit` bytes of answers have passed; or
    passes nothing more on and keeps it open."""

    def __init__(self, port: int, limit: int, *, stalls: bool = False) -> None:
        self.target, self.left, self.stalls = port, limit, stalls
        self.closed = threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.server.accept()
                registry = socket.create_connection(("127.0.0.1", self.target))
                for source, target, counts in ((client, registry, False), (registry, client, True)):
                    threading.Thread(target=self._pass_on, args=(source, target, counts), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if counts:
                    self.left -= len(data)
                    if self.left < 0:
                        if self.stalls:
                            self.closed.wait()
                        break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self.closed.set()
        self.server.close()


@pytest.fixture
def cutting_proxy():
    """`cutting_proxy(registry, limit)` → a proxy that dies, or stalls, in the middle."""
    made = []

    def start(registry, limit, **how):
        made.append(CuttingProxy(registry.port, limit, **how))
        return made[-1]

    yield start
    for proxy in made:
        proxy.close()


class OtherUser:
    """A user of this machine who is not us: `user("python", …)` runs a command as them and returns its stdout."""

    def __init__(self, name: str, home: Path) -> None:
        self.name, self.home = name, home

    def __call__(self, *words: str) -> str:
        # The interpreter and the checkout may lie in folders of root: the rights to read are kept, nothing else.
        keep = "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"
        line = ["setpriv", f"--reuid={self.name}", "--regid=nogroup", "--clear-groups", *keep, *words]
        kept = {name: os.environ[name] for name in ("PATH", "APPTAINER_KEYSDIR") if name in os.environ}
        environment = {**kept, "HOME": str(self.home), "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(line, env=environment, cwd=self.home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def as_other_user():
    name = "nobody"
    home = Path(tempfile.mkdtemp(prefix="selu-other-user-"))
    shutil.chown(home, name)
    yield OtherUser(name, home)
    shutil.rmtree(home)
