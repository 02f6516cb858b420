"""Generation over HTTP: transformers' own server with the pocket's architecture, and a server that misbehaves."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from selu_hpc.config import ModelConfig
from selu_hpc.errors import ModelError
from selu_hpc.models import server
from selu_hpc.models.server import ServerGenerator, lay_out
from selu_hpc.models.vlm import Request, load_generator

SERVE = "from transformers.cli.transformers import main; main()"


@pytest.fixture(scope="module")
def served(pocket_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `transformers serve`; skipped where its extra packages are missing."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    pytest.importorskip("openai")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    command = [sys.executable, "-c", SERVE, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("wb") as out:
        process = subprocess.Popen([*command, "--dtype", "float32"], stdout=out, stderr=out, env=environment)
    try:
        deadline = time.monotonic() + 240
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            try:
                if requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(120)


def test_transformers_server_gives_the_answers_this_process_gives(
    served, pocket_config, adapters, pocket_folder, tmp_path, ask
):
    remote = pocket_config.model_copy(update={"server_url": served})
    laid_out = {name: lay_out(pocket_folder, folder, tmp_path / name) for name, folder in adapters.items()}
    there = load_generator(remote, adapters=laid_out)
    here = load_generator(pocket_config, adapters=adapters)
    assert isinstance(there, ServerGenerator)
    requests_ = [*ask(2), Request("no picture"), Request("two pictures", ask(1)[0].images + ask(1, first=1)[0].images)]
    for name in (None, "actor", "critic"):
        expected = [answer.text for answer in here.generate(requests_, adapter=name)]
        assert [answer.text for answer in there.generate(requests_, adapter=name)] == expected


class Fake(http.server.BaseHTTPRequestHandler):
    """A server with a script: statuses and bodies in turn; what it was asked is kept."""

    script: list[tuple[int, str]]
    asked: list[tuple[str, dict]]

    def do_GET(self) -> None:
        self._reply(200, json.dumps({"data": [{"id": "base"}, {"id": "actor"}]}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, body))
        self._reply(*self.script.pop(0))

    def _reply(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[type[Fake], str]]:
    monkeypatch.setattr(server, "_FIRST_WAIT_S", 0.0)
    handler = type("Scripted", (Fake,), {"script": [], "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield handler, f"http://127.0.0.1:{running.server_address[1]}/v1/"
        running.shutdown()


def said(text: str) -> tuple[int, str]:
    return 200, json.dumps({"choices": [{"message": {"content": text}}], "usage": {"completion_tokens": 2}})


def test_an_adapter_the_server_has_is_asked_for_by_name_with_seed_and_limit(fake, tmp_path, ask):
    handler, url = fake
    generator = ServerGenerator(ModelConfig(base="base", server_url=url), adapters={"actor": tmp_path})
    handler.script[:] = [said(" yes ")]
    [answer] = generator.generate(ask(1), adapter="actor", temperature=0.5, seeds=[7], max_new_tokens=3)
    assert (answer.text, answer.num_tokens) == ("yes", 2)
    [(path, body)] = handler.asked
    assert path == "/v1/chat/completions"
    assert (body["model"], body["seed"], body["max_tokens"], body["temperature"]) == ("actor", 7, 3, 0.5)
    kinds = [part["type"] for part in body["messages"][0]["content"]]
    assert kinds == ["image_url", "text"]


def test_an_adapter_the_server_lacks_is_loaded_by_name(fake, adapters):
    handler, url = fake
    handler.script[:] = [(200, "ok")]
    ServerGenerator(ModelConfig(base="base", server_url=url), adapters={"critic": adapters["critic"]})
    assert handler.asked == [
        ("/v1/load_lora_adapter", {"lora_name": "critic", "lora_path": str(adapters["critic"].resolve())})
    ]


def test_a_server_that_takes_no_adapters_is_told_of_with_the_way_out(fake, adapters):
    handler, url = fake
    handler.script[:] = [(404, ""), (404, "")]
    with pytest.raises(ModelError, match="--lora-modules critic="):
        ServerGenerator(ModelConfig(base="base", server_url=url), adapters={"critic": adapters["critic"]})


def test_a_busy_server_is_asked_again(fake, ask):
    handler, url = fake
    generator = ServerGenerator(ModelConfig(base="base", server_url=url), adapters={})
    handler.script[:] = [(503, "busy"), (200, "not json"), said("no")]
    assert generator.generate(ask(1), adapter=None)[0].text == "no"


@pytest.mark.parametrize("reply", [(400, "prompt too long"), (200, "{}"), (200, '{"choices": []}')])
def test_a_refusal_or_a_strange_reply_is_an_error_with_its_words(fake, ask, reply):
    handler, url = fake
    generator = ServerGenerator(ModelConfig(base="base", server_url=url), adapters={})
    handler.script[:] = [reply]
    with pytest.raises(ModelError, match=r"127\.0\.0\.1"):
        generator.generate(ask(1), adapter=None)


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(ModelError, match=r"127\.0\.0\.1:9/v1/models does not answer"):
        ServerGenerator(ModelConfig(server_url="http://127.0.0.1:9"), adapters={})


def test_log_probabilities_from_a_server_are_refused_with_the_way_out(fake, ask):
    generator = ServerGenerator(ModelConfig(base="base", server_url=fake[1]), adapters={})
    with pytest.raises(ModelError, match="score in process"):
        generator.logprobs(ask(1), ["yes"], adapter=None)
