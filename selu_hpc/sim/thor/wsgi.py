"""The WSGI channel: every event is a multipart POST to /train, whose reply is the next action."""

from __future__ import annotations

import http.client
import json
import os
import uuid
from typing import Any

from selu_hpc.sim.thor.pictures import PackedView
from selu_hpc.sim.thor.session import Answer, Session

_TIMEOUT_SECONDS = None
_AGENT_PARTS = (
    ("image", "image"),
    ("image_depth", "depth"),
    ("image_normals", "normals"),
    ("image_classes", "classes"),
    ("image_ids", "instances"),
)
_CAMERA_PARTS = (
    ("image-thirdParty-camera", "image"), ("image_thirdParty_depth", "depth"), ("image_thirdParty_normals", "normals"),
    ("image_thirdParty_image_ids", "instances"), ("image_thirdParty_classes", "classes"),
)  # fmt: skip


def serve(session: Session, *, host: str, port: int, token: str) -> None:
    """Answer until the client goes away."""
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
    answer = session.first()
    while True:
        message = _post(connection, answer, token)
        if message is None or "action" not in message:
            return
        answer = session.handle(message)


def _post(connection: http.client.HTTPConnection, answer: Answer, token: str) -> dict[str, Any] | None:
    boundary = uuid.UUID(bytes=os.urandom(16)).hex
    body = _body(answer, token, boundary)
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Connection": "keep-alive"}
    try:
        connection.request("POST", "/train", body=body, headers=headers)
        reply = connection.getresponse()
        data = reply.read()
    except (OSError, http.client.HTTPException):
        return None
    if reply.status != http.client.OK:
        return None
    message = json.loads(data)
    return message if isinstance(message, dict) else None


def _body(answer: Answer, token: str, boundary: str) -> bytes:
    message = answer.world.describer.message(sequence_id=answer.sequence_id, segmentation=answer.want.segmentation)
    parts = [_text(boundary, "metadata", json.dumps(message)), _text(boundary, "token", token)]
    for view in answer.views:
        parts += _files(boundary, view, _AGENT_PARTS)
    for view in answer.cameras:
        parts += _files(boundary, view, _CAMERA_PARTS)
    return b"".join(parts) + f"--{boundary}--\r\n".encode()


def _text(boundary: str, name: str, value: str) -> bytes:
    return _head(boundary, f'name="{name}"', 'text/plain; charset="utf-8"') + value.encode() + b"\r\n"


def _files(boundary: str, view: PackedView, names: tuple[tuple[str, str], ...]) -> list[bytes]:
    out = []
    for name, field in names:
        data = getattr(view, field)
        if data is not None:
            head = _head(boundary, f'name="{name}"; filename="{name}"', "application/octet-stream")
            out.append(head + data + b"\r\n")
    return out


def _head(boundary: str, disposition: str, content_type: str) -> bytes:
    """A part's head; the client wants the headers' case exactly so."""
    return (
        f"--{boundary}\r\nContent-disposition: form-data; {disposition}\r\nContent-Type: {content_type}\r\n\r\n"
    ).encode()
