"""A client of the VirtualHome stand-in in home 0, and short words for what the tests do with it."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("the server opened no port")


def served(world: str) -> Iterator[int]:
    """The port of a stand-in that lives as long as the generator."""
    number = free_port()
    command = [sys.executable, "-m", "selu_hpc.sim.virtualhome_server", "--world", world]
    with subprocess.Popen([*command, "-batchmode", f"-http-port={number}", "-logFile /dev/null"]) as process:
        try:
            wait_for(number)
            yield number
        finally:
            process.kill()


class Home:
    """A client in home 0 with one character, and short words for what the tests do."""

    def __init__(self, client) -> None:
        self.client = client
        self.scene_cameras = client.camera_count()[1]
        assert client.add_character("Chars/Female1", initial_room="kitchen")
        self.names = json.loads(client.character_cameras()[1])

    @property
    def graph(self):
        return self.client.environment_graph()[1]

    def one(self, name, **has):
        for node in self.graph["nodes"]:
            if node["class_name"] == name and all(v in node[k] for k, v in has.items()):
                return node["id"]
        raise AssertionError(f"no {name} with {has}")

    def loose(self):
        """Name and id of a small thing that nothing closed hides."""
        graph = self.graph
        shut = {n["id"] for n in graph["nodes"] if "CLOSED" in n["states"]}
        hidden = {e["from_id"] for e in graph["edges"] if e["relation_type"] == "INSIDE" and e["to_id"] in shut}
        for node in graph["nodes"]:
            if node["class_name"] in ("mug", "plate", "bowl", "waterglass") and node["id"] not in hidden:
                return node["class_name"], node["id"]
        raise AssertionError("everything is shut away")

    def states(self, number):
        return next(n["states"] for n in self.graph["nodes"] if n["id"] == number)

    def run(self, *lines, **settings):
        return self.client.render_script(list(lines), skip_animation=True, **settings)

    def see(self, name="FIRST_PERSON", mode="normal", character=0, side=128):
        index = self.scene_cameras + character * len(self.names) + self.names.index(name)
        ok, images = self.client.camera_image([index], mode=mode, image_width=side, image_height=side)
        assert ok
        return images[0]
