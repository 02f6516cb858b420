"""Answers from an OpenAI-compatible server: vLLM, SGLang, or transformers' own `transformers serve`.

Owns the client side: one chat completion a request, as many in flight as `batch_size` (the server makes its own
batches), adapters by a name that holds a digest of their weights, since a server outlives rounds and runs and each has
an actor of its own. Words are sent with special tokens broken up, as in process: a server takes them as they come.
Does not start servers. What a server answers may depend on its batches: runs that must be repeatable bit by bit
generate in process (generate.py).
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import math
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests as http
from PIL import Image

from selu_hpc.config import ModelConfig
from selu_hpc.errors import ModelError
from selu_hpc.models.asking import Adapter, Answer, Request
from selu_hpc.records import FrameHWC, clean

logger = logging.getLogger(__name__)

_TIMEOUT_S = 600.0
_TRIES = 4
_FIRST_WAIT_S = 1.0
_WORTH_REPEATING = frozenset({408, 409, 429, 500, 502, 503, 504})
_SPECIAL = re.compile(r"<(?=[|\uff5c]|/?\w+>)|\[(?=/?[A-Z_]+\])")
"""Where something that looks like a special token begins: <|im_end|>, </s>, <image>, [INST]."""
_NEXT_BEST = 5
"""How many tokens that might have stood in a token's place a server is asked to name."""
_UNCUT = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""Else vLLM and SGLang take the base's own, made for chatting, and probabilities are of other words than in process."""
_MOVED = ", or name one: `python -m selu_hpc.submit --run RUN --set model.server_url=http://NODE:PORT`"
"""The run stays the same one; from a server to none it would not."""
_KNOWN = frozenset(["vllm", "sglang"])
"""Who knows those fields; `transformers serve` refuses a request that has one."""


class ServerGenerator:
    """A `Generator` over HTTP; see vlm.py. `logprobs` and `choose` need a model in process and say so."""

    def __init__(self, config: ModelConfig, *, adapters: Mapping[str, Path]) -> None:
        self._url = config.server_url.rstrip("/").removesuffix("/v1")
        self._config = config
        self._session = http.Session()
        self._session.mount("http://", http.adapters.HTTPAdapter(pool_maxsize=config.batch_size))
        self._plain = plainer(config.base)
        self._names: dict[str | None, dict[str, str]] = {None: {"model": config.base}}
        served = self._served()
        self._uncut = _UNCUT if _KNOWN.intersection(served.values()) else {}
        for name, folder in adapters.items():
            self._names[name] = self._adapter(name, folder, served)

    def generate(
        self,
        requests: Sequence[Request],
        *,
        adapter: Adapter,
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
        max_new_tokens: int | None = None,
    ) -> list[Answer]:
        if temperature > 0 and seeds is None:
            raise ValueError("a sampled answer needs a seed for each request")
        names = [adapter] * len(requests) if adapter is None or isinstance(adapter, str) else list(adapter)
        limit = self._config.max_new_tokens if max_new_tokens is None else max_new_tokens
        bodies = [
            self._body(request, name, temperature, None if seeds is None else seeds[at], limit)
            for at, (request, name) in enumerate(zip(requests, names, strict=True))
        ]
        with ThreadPoolExecutor(self._config.batch_size) as pool:
            return list(pool.map(self._complete, bodies))

    def logprobs(self, requests: Sequence[Request], answers: Sequence[str], *, adapter: Adapter) -> list[float]:
        raise ModelError(
            f"{self._url}: the chat completions interface gives no log-probabilities of given answers; "
            "leave model.server_url empty in another run to score in process"
        )

    def choose(self, requests: Sequence[Request], choices: Sequence[Sequence[str]], *, adapter: Adapter) -> list[int]:
        self.logprobs(requests, [], adapter=adapter)
        return []

    def _body(
        self, request: Request, adapter: str | None, temperature: float, seed: int | None, limit: int
    ) -> dict[str, Any]:
        if adapter not in self._names:
            known = ", ".join(name for name in self._names if name) or "none"
            raise ModelError(f"adapter {adapter!r} is not known (known: {known}); name it in load_generator's adapters")
        content: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": data_url(frame)}} for frame in request.images
        ]
        content.append({"type": "text", "text": self._plain(request.prompt)})
        body: dict[str, Any] = {
            **self._names[adapter],
            "messages": [{"role": "user", "content": content}],
            "max_tokens": limit,
            "temperature": temperature,
            "top_p": 1.0,  # else a server takes the base's own, made for chatting
            **self._uncut,
            "stream": False,
            "logprobs": True,
            "top_logprobs": _NEXT_BEST,
        }
        return body if seed is None or temperature == 0 else body | {"seed": seed % (1 << 31)}

    def _complete(self, body: dict[str, Any]) -> Answer:
        answer = self._post("/v1/chat/completions", body)
        try:
            choice = answer["choices"][0]
            text = choice["message"].get("content") or ""
            tokens = int((answer.get("usage") or {}).get("completion_tokens") or 0)
            listed = (choice.get("logprobs") or {}).get("content") or []
            total = sum(float(one["logprob"]) for one in listed) if listed else math.nan
            sure = sureness(listed)
            said = text.strip()
        except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(f"{self._url}: not a chat completion: {str(answer)[:300]}") from error
        return Answer(said, tokens, total, sure=sure)

    def _adapter(self, name: str, folder: Path, served: Mapping[str, str]) -> dict[str, str]:
        """What a request says to mean this adapter: its name where the server has it or loads it, else a folder."""
        if not (folder / "adapter_config.json").is_file():
            raise ModelError(
                f"adapter {name!r}: {folder} has no adapter_config.json; finish its fine-tuning stage first"
            )
        known = f"{name}-{adapter_digest(folder)}"
        by_name = {"vllm": {"model": known}, "sglang": {"model": self._config.base, "lora_path": known}}
        if known in served:
            return by_name.get(served[known], by_name["vllm"])
        wanted = {"lora_name": known, "lora_path": str(folder.resolve())}
        refused = ""
        for path, server in (("/v1/load_lora_adapter", "vllm"), ("/load_lora_adapter", "sglang")):
            reply = self._try(path, wanted)
            if reply is not None and reply.ok:
                return by_name[server]
            if reply is not None and _is_of_the_adapter(reply, wanted):
                refused = f" ({_words(reply)})"
        if known in (served := self._served()):  # another job was first
            return by_name.get(served[known], by_name["vllm"])
        if (folder / "config.json").is_file():
            return {"model": str(folder.resolve())}
        if not set(by_name) & set(served.values()):
            return {"model": str(self._beside_the_base(name, folder, known))}
        raise ModelError(
            f"adapter {name!r}: {self._url} neither serves nor loads {known}{refused}; start vLLM with "
            f"`--enable-lora --max-lora-rank {self._config.lora_rank}` or more and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 "
            f"in its environment, or with `--lora-modules {known}={folder}`; it must see that folder under the same "
            "path"
        )

    def _beside_the_base(self, name: str, folder: Path, known: str) -> Path:
        """`transformers serve` knows models by their folder alone: one of links, beside the adapter's own."""
        from selu_hpc.models.backbone import find

        try:
            base = find(self._config.base)
        except ModelError as error:
            raise ModelError(
                f"adapter {name!r}: {self._url} neither serves nor loads {known} by name (vLLM does with "
                "`--enable-lora` and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, SGLang with `--enable-lora`), and to lay it "
                f"out for `transformers serve` the base's files must be here: {error}"
            ) from error
        logger.debug("%s: no way to load adapters by name; asking for %s by its folder", self._url, known)
        return lay_out(base, folder, folder.resolve().with_name(f"served-{known}"))

    def _served(self) -> dict[str, str]:
        """The names the server answers to, each with whom it says they belong to ("vllm", "sglang", …)."""
        reply = self._ask_models()
        if reply.status_code in (http.codes.unauthorized, http.codes.forbidden):
            raise ModelError(
                f"model.server_url {self._config.server_url!r}: {self._url}/v1/models says HTTP {reply.status_code}"
                f"{self._by_proxy()}; no key is sent: start the server without one, where only the run's jobs reach it"
            )
        try:
            return {str(one["id"]): str(one.get("owned_by")) for one in reply.json()["data"]}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # transformers' server lists the hub's cache and fails where there is none; it serves folders all the same.
            if reply.status_code == http.codes.server_error:
                logger.warning("%s/v1/models: HTTP %s, no list of models", self._url, reply.status_code)
                return {}
            raise ModelError(
                f"model.server_url {self._config.server_url!r}: {self._url}/v1/models gives no list of models "
                f"({_words(reply)}){self._by_proxy()}; it must be the address of an OpenAI-compatible server that has "
                f"loaded its model; read the server's log{_MOVED}"
            ) from error

    def _ask_models(self) -> http.Response:
        """The reply; a server that is busy or starting is asked again, for what it is decides what it is told."""
        url, wait = f"{self._url}/v1/models", _FIRST_WAIT_S
        for left in reversed(range(_TRIES)):
            try:
                reply = self._session.get(url, timeout=_TIMEOUT_S)
            except http.RequestException as error:
                if not left:
                    raise ModelError(
                        f"model.server_url {self._config.server_url!r}: {url} does not answer ({error})"
                        f"{self._by_proxy()}; start the server{_MOVED}"
                    ) from error
            else:
                if not left or reply.status_code not in _WORTH_REPEATING:
                    return reply
            time.sleep(wait)
            wait *= 2
        raise AssertionError("the last try returns or raises")

    def _try(self, path: str, body: dict[str, Any]) -> http.Response | None:
        try:
            return self._session.post(f"{self._url}{path}", json=body, timeout=_TIMEOUT_S)
        except http.RequestException:
            return None

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        wait, last = _FIRST_WAIT_S, "no reply"
        for tried in range(_TRIES):
            if tried:
                time.sleep(wait)
                wait *= 2
            reply = self._try(path, body)
            if reply is not None and reply.ok:
                try:
                    return reply.json()
                except ValueError:
                    last = f"no JSON: {clean(reply.text[:200])}"
                    continue
            last = "no reply" if reply is None else _words(reply)
            if reply is not None and reply.status_code not in _WORTH_REPEATING:
                break
        moved = _MOVED if reply is None else ""
        raise ModelError(
            f"{self._url}{path}: {last} (model {body.get('model')!r}){self._by_proxy()}; read the server's log{moved}"
        )

    def _by_proxy(self) -> str:
        """Whom requests go by, where the environment names one: what answers may be the proxy, not the server."""
        proxy = http.utils.select_proxy(self._url, http.utils.get_environ_proxies(self._url))
        if not proxy:
            return ""
        whose = urlsplit(proxy if "://" in proxy else f"//{proxy}").netloc.rpartition("@")[2]  # it may hold a password
        host = urlsplit(self._url).hostname
        return f", asked by way of the proxy {whose} (NO_PROXY={host} where jobs get their environment goes past it)"


def _words(reply: http.Response) -> str:
    """A server's own, which a terminal may be shown."""
    return f"HTTP {reply.status_code}: {clean(reply.text[:300])}"


def _is_of_the_adapter(reply: http.Response, wanted: Mapping[str, str]) -> bool:
    """Whether a refusal says why. A server without that path answers 404 or 405, and so does vLLM, with their names,
    for files it does not see."""
    elsewhere = reply.status_code in (http.codes.not_found, http.codes.method_not_allowed)
    return not elsewhere or any(word in reply.text for word in wanted.values())


def adapter_digest(folder: Path) -> str:
    """Twelve hex digits of an adapter's settings and weights."""
    hashed = hashlib.blake2b(digest_size=6)
    for file in (folder / "adapter_config.json", *sorted(folder.glob("adapter_model.*"))):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                hashed.update(block)
    return hashed.hexdigest()


def plainer(base: str) -> Callable[[str], str]:
    """What breaks up special tokens in words, as `Chat.plain` does: by the base's tokenizer where its files are here,
    else by what special tokens look like."""
    from selu_hpc.models.backbone import find, load_processor
    from selu_hpc.models.chat import broken_up, special_tokens

    try:
        specials = special_tokens(load_processor(find(base)))
    except (ModelError, OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        logger.info("%s: no tokenizer here (%s); special tokens are told by their looks", base, error)
        return lambda text: _SPECIAL.sub(r"\g<0> ", text)
    return lambda text: broken_up(text, specials)


def sureness(listed: Sequence[Mapping[str, Any]]) -> float:
    """How likely the first yes or no among these tokens was against the other; where none is one token, how likely
    all the words were. 0 where neither was likely at all: servers write -9999 for minus infinity. NaN when nothing is
    told."""
    for one in listed:
        said = _word(one["token"])
        if said in ("yes", "no"):
            others = {str(other["token"]): float(other["logprob"]) for other in one.get("top_logprobs") or []}
            others[str(one["token"])] = float(one["logprob"])
            yes, no = (sum(math.exp(p) for t, p in others.items() if _word(t) == word) for word in ("yes", "no"))
            return (yes if said == "yes" else no) / (yes + no) if yes + no else 0.0
    return math.exp(min(sum(float(one["logprob"]) for one in listed), 0.0)) if listed else math.nan


def _word(token: object) -> str:
    """A token without the space, or the tokenizer's mark of one, before it: "▁Yes" is "yes"."""
    return str(token).strip(" ▁Ġ\n.,\"'").lower()


def lay_out(base: Path, adapter: Path, out: Path) -> Path:
    """A folder of links that `transformers serve` takes for a model: the base's files and the adapter's."""
    if out.is_dir():
        return out
    partial = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    files = {file.name: file for folder in (base, adapter) for file in folder.iterdir() if file.is_file()}
    for name, file in files.items():
        (partial / name).symlink_to(file.resolve())
    partial.chmod(0o755)
    try:
        partial.rename(out)
    except OSError:
        shutil.rmtree(partial)
        if not out.is_dir():
            raise
    return out


def data_url(frame: FrameHWC) -> str:
    """A picture as the chat interface takes it; PNG, so that no pixel changes."""
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, format="PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
