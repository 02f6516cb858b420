"""Turns a prompt, its pictures and an answer into token ids: the one way, for generation and for training alike.

Owns the chat template's use, the expansion of image placeholders and where a row's shareable prefix ends.
Does not own the model (vlm.py), batching (generate.py) or the words of a prompt (selu/).
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jinja2 import TemplateError
from PIL import Image

from selu_hpc.errors import ModelError
from selu_hpc.records import FrameHWC

logger = logging.getLogger(__name__)

_MARK = "\u241fanswer\u241f"
_CACHED_IMAGES = 1024


@dataclass(frozen=True, slots=True)
class ImagePart:
    """One picture as the model takes it: the ids its placeholder becomes, and the processor's tensors.

    key: hash of the pixels.  tensors: e.g. {"pixel_values": (1, 3, H, W)}; leading axis is concatenated.
    """

    key: bytes
    ids: tuple[int, ...]
    tensors: Mapping[str, torch.Tensor] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One user turn and, in training, its answer.

    prompt_ids: up to where the answer begins, placeholders expanded.
    num_prefix: how many of them end with the last picture; the part several questions share. 0 without pictures.
    answer_ids: the answer with its end of turn; empty when the answer is to be generated.
    """

    prompt_ids: tuple[int, ...]
    num_prefix: int
    answer_ids: tuple[int, ...]
    images: tuple[ImagePart, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return self.prompt_ids + self.answer_ids

    @property
    def labels(self) -> tuple[int, ...]:
        """-100 over the prompt: loss falls on the answer only."""
        return (-100,) * len(self.prompt_ids) + self.answer_ids


class Chat:
    """The template of one processor; `Chat(processor).encode("Is it open?", [frame], answer="yes")`."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        if self.tokenizer.eos_token is None:
            raise ModelError(
                f"{self.tokenizer.name_or_path or type(processor).__name__}: its tokenizer has no eos_token, so no "
                "answer could end; fetch the base's tokenizer_config.json and special_tokens_map.json again"
            )
        self.image_token: str = processor.image_token
        self.image_token_id: int = int(processor.image_token_id)
        self._images: OrderedDict[bytes, ImagePart] = OrderedDict()
        self._warned = False
        self._specials = special_tokens(processor)
        prompt = self._render("question", 0)
        whole = self._render("question", 0, answer=_MARK)
        if not whole.startswith(prompt) or _MARK not in whole:
            raise ModelError(
                f"{type(processor).__name__}: its chat template does not continue the generation prompt with the "
                "answer; set processor.chat_template to one that does (docs/add-a-backbone.md)"
            )
        self._lead, _, tail = whole[len(prompt) :].partition(_MARK)
        ends = [text for text in (self.tokenizer.eos_token, "<|im_end|>") if text and text in tail]
        end = min(ends, key=tail.index) if ends else ""
        self._tail = tail[: tail.index(end) + len(end)] if end else self.tokenizer.eos_token

    def encode(self, prompt: str, images: Sequence[FrameHWC] = (), *, answer: str | None = None) -> Encoded:
        """Ids of one turn; special tokens spelled out in the words are broken up, so words stay words."""
        parts = tuple(self.image(frame) for frame in images)
        ids: list[int] = []
        num_prefix = 0
        waiting = iter(parts)
        asked = self._render(self.plain(prompt), len(parts))
        tokens = self._tokens(asked, first=True)
        for token in tokens:
            if token == self.image_token_id:
                part = next(waiting, None)
                if part is None:
                    raise ModelError(f"the chat template wrote more than {len(parts)} picture placeholders")
                ids.extend(part.ids)
                num_prefix = len(ids)
            else:
                ids.append(token)
        if next(waiting, None) is not None:
            raise ModelError(f"the chat template wrote fewer than {len(parts)} picture placeholders")
        answer_ids = () if answer is None else self._answer_ids(answer, after=asked, whose=tokens)
        return Encoded(tuple(ids), num_prefix, answer_ids, parts)

    def answer_ids(self, answer: str) -> tuple[int, ...]:
        """The answer as the model is taught to give it, end of turn included."""
        return self.encode("question", answer=answer).answer_ids

    def decode(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        return text.strip()

    def plain(self, text: str) -> str:
        """The same words with every special token's spelling broken by a space."""
        return broken_up(text, self._specials)

    def forget(self) -> None:
        """Prepare every picture anew: for who measures."""
        self._images.clear()

    def image(self, frame: FrameHWC) -> ImagePart:
        """A picture's ids and tensors, remembered by its pixels."""
        pixels = np.ascontiguousarray(frame)
        digest = hashlib.blake2b(pixels.data, digest_size=16)
        digest.update(str(pixels.shape).encode())
        key = digest.digest()
        part = self._images.get(key)
        if part is None:
            part = self._images[key] = self._process(key, pixels)
            if len(self._images) > _CACHED_IMAGES:
                self._images.popitem(last=False)
        else:
            self._images.move_to_end(key)
        return part

    def stop_ids(self, generation_config: Any) -> frozenset[int]:
        """Tokens that end an answer."""
        found = {int(self._tokens(self._tail, first=False)[-1]), int(self.tokenizer.eos_token_id)}
        eos = getattr(generation_config, "eos_token_id", None)
        found.update(eos if isinstance(eos, list) else [] if eos is None else [eos])
        return frozenset(found)

    def placeholder_ids(self) -> list[int]:
        """Tokens that stand for a picture or a film. No answer may hold one: read again, it would ask for pixels."""
        names = ("image_token_id", "video_token_id")
        return [int(found) for name in names if (found := getattr(self.processor, name, None)) is not None]

    def _answer_ids(self, answer: str, *, after: str, whose: list[int]) -> tuple[int, ...]:
        """What the tokenizer continues the prompt's ids with. By itself an answer may begin otherwise: SentencePiece
        puts a space before every text, and the model never says two of them."""
        said = self._lead + self.plain(answer) + self._tail
        together = self._tokens(after + said, first=True)
        if together[: len(whose)] == whose:
            return tuple(together[len(whose) :])
        if not self._warned:
            self._warned = True
            logger.warning(
                "%s: the first letters of %r become one token with the prompt's end, which no answer begins with; "
                "such answers are tokenised by themselves",
                type(self.tokenizer).__name__, answer[:40],
            )  # fmt: skip
        return tuple(self._tokens(said, first=False))

    def _process(self, key: bytes, pixels: FrameHWC) -> ImagePart:
        made = self.processor(text=[self.image_token], images=[[Image.fromarray(pixels)]], return_tensors="pt")
        ids = [int(token) for token in made.pop("input_ids")[0]]
        first, last = ids.index(self.image_token_id), len(ids) - 1 - ids[::-1].index(self.image_token_id)
        drop = ("attention_mask", "token_type_ids", "mm_token_type_ids")
        tensors = {name: value for name, value in made.items() if name not in drop}
        return ImagePart(key, tuple(ids[first : last + 1]), tensors)

    def _render(self, prompt: str, num_images: int, *, answer: str | None = None) -> str:
        content: list[dict[str, str]] = [{"type": "image"}] * num_images + [{"type": "text", "text": prompt}]
        turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if answer is not None:
            turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
        try:
            text: str = self.processor.apply_chat_template(turns, add_generation_prompt=answer is None, tokenize=False)
        except (ValueError, TypeError, TemplateError) as error:  # TypeError: it takes words for what is a list
            raise ModelError(
                f"{self.tokenizer.name_or_path or type(self.processor).__name__}: no usable chat template ({error}); "
                "fetch the base's chat_template.jinja or chat_template.json again, or write one "
                "(docs/add-a-backbone.md)"
            ) from error
        return text

    def _tokens(self, text: str, *, first: bool) -> list[int]:
        bos = self.tokenizer.bos_token
        specials = first and not (bos and text.startswith(bos))
        ids: list[int] = self.tokenizer(text, add_special_tokens=specials)["input_ids"]
        return ids


def special_tokens(processor: Any) -> list[str]:
    """Every special token's spelling, longest first. Those that a tokenizer has names for need not be all: the mark of
    a turn or of a picture may be an added one alone."""
    tokenizer = processor.tokenizer
    added = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return sorted({*tokenizer.all_special_tokens, *added, processor.image_token}, key=len, reverse=True)


def broken_up(text: str, specials: Sequence[str]) -> str:
    """The same words with a space after the first letter of each of these."""
    for token in specials:
        if len(token) > 1 and token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def stack_images(parts: Sequence[ImagePart]) -> dict[str, torch.Tensor]:
    """Many pictures' tensors as one batch; crops of LlavaNext's grid are padded to the longest."""
    if not parts:
        return {}
    stacked: dict[str, torch.Tensor] = {}
    for name in parts[0].tensors:
        values = [part.tensors[name] for part in parts]
        if values[0].ndim == 5:
            longest = max(value.shape[1] for value in values)
            values = [torch.nn.functional.pad(v, (0, 0) * 3 + (0, longest - v.shape[1])) for v in values]
        stacked[name] = torch.cat(values)
    return stacked
