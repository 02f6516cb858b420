"""A THOR build that does nothing: the same metadata for every action, black pictures. The protocol's limit.

    python benchmarks/_blank_build.py SCENE [Unity's arguments]

The metadata are a real scene's and are packed once, so that what remains is the client, the pipes and the bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
from pathlib import Path

import msgpack

HEADER = struct.Struct("!BI")
METADATA, ACTION, RGB, THIRD_RGB, END = 1, 2, 4, 10, 255


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("scene")
    parser.add_argument("-screen-width", dest="width", type=int, default=300)
    parser.add_argument("-screen-height", dest="height", type=int, default=300)
    options, _ = parser.parse_known_args()
    build = Blank(options.scene, options.width, options.height)
    with (
        Path(os.environ["AI2THOR_FIFO_SERVER_PIPE_PATH"]).open("wb", buffering=0) as writer,
    ):
        build.send(writer, 0)
        with Path(os.environ["AI2THOR_FIFO_CLIENT_PIPE_PATH"]).open("rb") as reader:
            while (message := receive(reader)) is not None:
                build.obey(message)
                build.send(writer, message["sequenceId"])


class Blank:
    def __init__(self, scene: str, width: int, height: int) -> None:
        from selu_hpc.sim.thor.world import World

        world = World(scene, known=True)
        self._agent = {**world.metadata(), "lastActionSuccess": True, "errorCode": None, "errorMessage": ""}
        self._cameras = 0
        self._size = (width, height)
        self._pack("")

    def obey(self, message: dict) -> None:
        action = message["action"]
        if action == "ChangeResolution":
            self._size = (message["x"], message["y"])
        if action == "AddThirdPartyCamera":
            self._cameras = 1
        if action in ("ChangeResolution", "GetScenesInBuild", "Initialize", "Reset", "AddThirdPartyCamera", "Done"):
            self._pack(action)

    def send(self, writer, sequence_id: int) -> None:
        metadata = b"\x83" + self._packed + msgpack.packb("sequenceId") + msgpack.packb(sequence_id)
        data = memoryview(HEADER.pack(METADATA, len(metadata)) + metadata + self._pictures + HEADER.pack(END, 0))
        while data:
            data = data[writer.write(data) :]

    def _pack(self, action: str) -> None:
        width, height = self._size
        scenes = [f"FloorPlan{n}_physics" for n in range(1, 431)] if action == "GetScenesInBuild" else None
        near = {"cameraNearPlane": 0.1, "cameraFarPlane": 20.0} if action == "Initialize" else None
        cameras = [{"thirdPartyCameraId": 0, "position": {}, "rotation": {}, "fieldOfView": 90.0}] * self._cameras
        agent = {**self._agent, "screenWidth": width, "screenHeight": height, "thirdPartyCameras": cameras}
        agent["actionReturn"] = scenes or near
        head = msgpack.packb("agents") + msgpack.packb([agent])
        self._packed = head + msgpack.packb("activeAgentId") + msgpack.packb(0)
        first, third = bytes(width * height * 3), bytes(width * height * 4)
        self._pictures = HEADER.pack(RGB, len(first)) + first
        if self._cameras:
            self._pictures += HEADER.pack(THIRD_RGB, len(third)) + third


def receive(reader) -> dict | None:
    body = b""
    while True:
        header = reader.read(HEADER.size)
        if len(header) < HEADER.size:
            return None
        kind, length = HEADER.unpack(header)
        if kind == END:
            return json.loads(body)
        body = reader.read(length)


if __name__ == "__main__":
    sys.exit(main())
