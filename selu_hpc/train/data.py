"""From a round's dataset to batches: samples to ids, frames to features or pixels, rows to tensors.

Owns tokenising, reading frames in the background and assembling batches ahead of the training loop.
Does not own the order (order.py), the tower (towers.py) or how frames are stored (store/).

Shape legend: B rows, L padded length, A answer tokens of the batch.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from selu_hpc.errors import SeluError, TrainingError
from selu_hpc.models.chat import Chat, ImagePart, stack_images
from selu_hpc.records import FrameHWC, FrameRef, Sample
from selu_hpc.train.features import LIMIT_VARIABLE, FeatureCache
from selu_hpc.train.towers import IMAGES_PER_CALL, PIXELS, Tower, feed

logger = logging.getLogger(__name__)

Taken = TypeVar("Taken")
PAD_TO = 8
_READ_AHEAD = 64
_MEMORY_BYTES = 512 << 20


class Frames(Protocol):
    """What training needs of store.frames.FrameSource."""

    def read(self, ref: FrameRef) -> FrameHWC: ...


@dataclass(frozen=True, slots=True)
class Row:
    """A tokenised sample; `name` is where it came from ("actor.jsonl:17"), for messages."""

    name: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    images: tuple[FrameRef, ...]

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + len(self.answer_ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch, ready for the model.

    inputs: what the model's forward takes: input_ids BL right-padded, images in row order.
    answers_bl: True where the next token is an answer's.  targets_a: those tokens, in row order.
    weight: 0 for the stand-in of an empty micro-batch, else 1.
    """

    inputs: dict[str, Tensor]
    answers_bl: Tensor
    targets_a: Tensor
    weight: float
    rows: tuple[int, ...]


def read_samples(files: Sequence[Path]) -> list[tuple[str, Sample]]:
    """The samples of one or, for SELU-One, two datasets, each with its file and line."""
    found: list[tuple[str, Sample]] = []
    for file in files:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError as error:
            raise TrainingError(f"{file}: no such dataset; the round's gate makes it: submit the run again") from error
        for number, line in enumerate(lines, start=1):
            try:
                found.append((f"{file.name}:{number}", Sample.from_json(json.loads(line))))
            except (ValueError, KeyError, TypeError) as error:
                raise TrainingError(
                    f"{file}:{number}: not a sample ({type(error).__name__}: {error}); "
                    "remove the gate's marker and submit the run again to build the dataset anew"
                ) from error
    if not found:
        raise TrainingError(
            f"{', '.join(map(str, files))}: no samples to learn from; look at card.json beside it: when no episode was "
            "judged a success, raise rollout.episodes_per_shard, set critic.hindsight, or check the critic's verdicts"
        )
    return found


class Pictures:
    """What the model is given for a frame: features encoded once, or pixels when its tower is not frozen."""

    def __init__(self, frames: Frames, chat: Chat, tower: Tower | None, cache: FeatureCache | None) -> None:
        self.num_encoded = 0
        self._frames = frames
        self._chat = chat
        self._tower = tower
        self._cache = cache
        self._seen: dict[FrameRef, tuple[bytes, tuple[int, ...]]] = {}
        self._memory: OrderedDict[bytes, Tensor] = OrderedDict()
        self._memory_bytes = 0

    def key(self, ref: FrameRef) -> bytes:
        """Equal for frames of equal pixels."""
        return self._seen[ref][0]

    def shape(self, ref: FrameRef) -> tuple[int, ...]:
        return self._seen[ref][1]

    def look(self, refs: Sequence[FrameRef]) -> dict[FrameRef, tuple[bytes, tuple[int, ...]]]:
        """Read frames, then encode and keep those whose features are not there yet; for a rank that is alone."""
        found = self.see(refs)
        self.keep(refs)
        return found

    def see(self, refs: Iterable[FrameRef]) -> dict[FrameRef, tuple[bytes, tuple[int, ...]]]:
        """Read frames in the background and learn which they are; features that are there are marked as in use."""
        ordered = _in_order(refs)
        for ref, frame in zip(ordered, self._ahead(ordered, self._read), strict=True):
            self._seen[ref] = frame_key(frame), frame.shape
        if self._cache is not None:
            self._cache.touch({self._seen[ref][0] for ref in ordered})
        return dict(self._seen)

    def keep(self, refs: Iterable[FrameRef]) -> None:
        """Encode the frames among these whose features are not there yet, and keep them as far as there is room.

        All frames of this host have been seen by now, so that none whose features are in use makes room for others.
        """
        cache = self._cache
        if cache is None:
            return
        lacking = {key for key, _ in self._seen.values() if key not in cache}
        mine = {key: ref for ref in _in_order(refs) if (key := self._seen[ref][0]) in lacking}
        waiting: list[tuple[bytes, ImagePart]] = []
        room: int | None = None
        parts = self._ahead(list(mine.values()), self._image)
        for number, (key, part) in enumerate(zip(mine, parts, strict=True), start=1):
            waiting.append((key, part))
            if len(waiting) == IMAGES_PER_CALL or number == len(mine):
                room = self._encode(waiting, len(lacking), len(mine), room)
                waiting = []
            if room == 0:
                return

    def learn(self, seen: Mapping[FrameRef, tuple[bytes, tuple[int, ...]]]) -> None:
        """What another rank found about its share of the frames."""
        self._seen |= seen

    def part(self, shape: tuple[int, ...]) -> ImagePart:
        """A picture of this shape: its ids and layout, which do not depend on the pixels."""
        return self._chat.image(np.zeros(shape, np.uint8))

    def tensors(self, refs: Sequence[FrameRef]) -> dict[str, Tensor]:
        """The model's image inputs for these frames, in order."""
        if not refs:
            return {}
        if self._tower is None:
            return stack_images([self._chat.image(self._read(ref)) for ref in refs])
        layout = stack_images([self._layout(self.shape(ref)) for ref in refs])
        return {PIXELS: feed(self._features(refs)), **layout}

    def _layout(self, shape: tuple[int, ...]) -> ImagePart:
        part = self.part(shape)
        return ImagePart(part.key, part.ids, {name: value for name, value in part.tensors.items() if name != PIXELS})

    def _features(self, refs: Sequence[FrameRef]) -> list[Tensor]:
        """Features of a batch's frames; those that nothing has kept are encoded together."""
        assert self._tower is not None
        found: dict[bytes, Tensor] = {}
        missing: dict[bytes, FrameRef] = {}
        for ref in refs:
            key, _ = self._seen[ref]
            known = self._memory.get(key)
            if known is None and self._cache is not None:
                known = self._cache.get(key)
            if known is None:
                missing[key] = ref
            else:
                found[key] = known
        fresh = self._tower.encode([self._image(ref) for ref in missing.values()])
        self.num_encoded += len(fresh)
        found |= zip(missing, fresh, strict=True)
        for key, features in found.items():
            self._remember(key, features)
        return [found[self._seen[ref][0]] for ref in refs]

    def _remember(self, key: bytes, features: Tensor) -> None:
        if key in self._memory:
            return
        self._memory[key] = features
        self._memory_bytes += features.nbytes
        while self._memory_bytes > _MEMORY_BYTES and len(self._memory) > 1:
            self._memory_bytes -= self._memory.popitem(last=False)[1].nbytes

    def _encode(self, waiting: Sequence[tuple[bytes, ImagePart]], lacking: int, mine: int, room: int | None) -> int:
        """Encode and keep; `room` is how many bytes this rank may still keep, found out with the first batch.

        lacking: how many frames of this host have no features yet.  mine: how many of them this rank encodes.
        """
        assert self._tower is not None
        assert self._cache is not None
        encoded = self._tower.encode([part for _, part in waiting])
        self.num_encoded += len(encoded)
        if room is None:
            room = self._cache.make_room(encoded[0].nbytes * lacking) * mine // lacking
            if room < encoded[0].nbytes * mine:
                every = encoded[0].nbytes * len({key for key, _ in self._seen.values()})
                logger.warning(
                    "%s: the features of this training take %.2f GB, more than there is room for; those that are not "
                    "kept are encoded again in every epoch: set %s to %.0f or more",
                    self._cache.root, every / 1e9, LIMIT_VARIABLE, np.ceil(every * 1.01 / 1e9),
                )  # fmt: skip
        for (key, _), features in zip(waiting, encoded, strict=True):
            if features.nbytes > room:
                return 0
            self._cache.put(key, features)
            room -= features.nbytes
        return room

    def _image(self, ref: FrameRef) -> ImagePart:
        return self._chat.image(self._read(ref))

    def _ahead(self, refs: Sequence[FrameRef], take: Callable[[FrameRef], Taken]) -> Iterator[Taken]:
        """What is taken of each frame, by a thread that stays a bounded number ahead."""
        with ThreadPoolExecutor(1, thread_name_prefix="frames") as reader:
            ahead: deque[Future[Taken]] = deque()
            for ref in refs:
                ahead.append(reader.submit(take, ref))
                if len(ahead) >= _READ_AHEAD:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def _read(self, ref: FrameRef) -> FrameHWC:
        try:
            return self._frames.read(ref)
        except (SeluError, OSError, LookupError, ValueError) as error:
            raise TrainingError(
                f"frame {ref.store} episode {ref.episode} step {ref.step} {ref.view} cannot be read "
                f"({type(error).__name__}: {error}); the dataset points at a shard that changed or was removed: "
                "submit the run again to make it anew"
            ) from error


class Dataset:
    """The rows of a training and the batches made of them."""

    def __init__(self, samples: Sequence[tuple[str, Sample]], pictures: Pictures, chat: Chat, config: Any) -> None:
        self.pictures = pictures
        self._chat = chat
        self._pad = int(chat.tokenizer.pad_token_id)
        self._wants_types = config.model_type.startswith("qwen")
        self._longest = int(config.get_text_config().max_position_embeddings)
        self.rows = [self._tokenise(name, sample) for name, sample in samples]

    def num_answer_tokens(self, rows: Iterable[int]) -> int:
        return sum(len(self.rows[row].answer_ids) for row in rows)

    def num_tokens(self, rows: Iterable[int]) -> int:
        return sum(self.rows[row].length for row in rows)

    def batch(self, rows: Sequence[int], *, stand_in: int) -> Batch:
        """The rows as tensors; an empty micro-batch becomes one row that counts for nothing."""
        chosen = [self.rows[row] for row in rows or (stand_in,)]
        longest = -(-max(row.length for row in chosen) // PAD_TO) * PAD_TO
        ids_bl = torch.full((len(chosen), longest), self._pad)
        answers_bl = torch.zeros(len(chosen), longest, dtype=torch.bool)
        for at, row in enumerate(chosen):
            ids_bl[at, : row.length] = torch.tensor(row.prompt_ids + row.answer_ids)
            answers_bl[at, len(row.prompt_ids) - 1 : row.length - 1] = True
        inputs = {"input_ids": ids_bl, **self.pictures.tensors([ref for row in chosen for ref in row.images])}
        if self._wants_types:
            inputs["mm_token_type_ids"] = (ids_bl == self._chat.image_token_id).int()
        targets_a = torch.tensor([token for row in chosen for token in row.answer_ids])
        return Batch(inputs, answers_bl, targets_a, 1.0 if rows else 0.0, tuple(rows))

    def _tokenise(self, name: str, sample: Sample) -> Row:
        blanks = [np.zeros(self.pictures.shape(ref), np.uint8) for ref in sample.images]
        encoded = self._chat.encode(sample.prompt, blanks, answer=sample.answer)
        row = Row(name, encoded.prompt_ids, encoded.answer_ids, sample.images)
        if row.length > self._longest:
            raise TrainingError(
                f"{name}: {row.length} tokens, more than the model's {self._longest}; shorten the prompt, show fewer "
                "frames (critic.frames), or make them smaller (env.width, env.height)"
            )
        return row


def _in_order(refs: Iterable[FrameRef]) -> list[FrameRef]:
    """As they lie in their stores."""
    return sorted(refs, key=lambda ref: (ref.store, ref.episode, ref.step, ref.view))


def frame_key(frame: FrameHWC) -> bytes:
    """A frame's content as a cache key: equal pixels, equal key, in whatever run."""
    hashed = hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=16)
    hashed.update(str(frame.shape).encode())
    return hashed.digest()
