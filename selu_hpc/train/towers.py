"""The frozen image tower, taken out of the model so that each frame is encoded once.

Owns what a family's tower gives and how the model is fed that instead of pixels. Does not own where features are
kept (features.py). A family not known here, or a tower that LoRA trains, is fed pixels: slower, never wrong.

A tower's features of one image, by family:
    llava, llava_next    (crops, patches + 1, width): the chosen layer's hidden states, before the projector
    qwen2_vl, qwen2_5_vl (merged patches, width): the tower's output, merger included
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from selu_hpc.models.chat import ImagePart, stack_images

IMAGES_PER_CALL = 16
"""Fixed, so that an image's features do not depend on which others are encoded with it."""
PIXELS = "pixel_values"


class Given(nn.Module):
    """Stands where the tower stood and returns the features it is given."""

    def __init__(self, tower: Any, *, patches: bool) -> None:
        super().__init__()
        self.patches = patches
        self.dtype = next(tower.parameters()).dtype
        self.config = tower.config
        self.spatial_merge_size = getattr(tower, "spatial_merge_size", 1)

    def forward(self, features: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        if self.patches:
            states = features.squeeze(1)
            return BaseModelOutputWithPooling(last_hidden_state=states, hidden_states=EveryLayer(states))
        return BaseModelOutputWithPooling(last_hidden_state=features, pooler_output=features)


class EveryLayer:
    """The chosen layer, whichever is asked for: only that one was kept."""

    def __init__(self, states: Tensor) -> None:
        self.states = states

    def __getitem__(self, layer: int) -> Tensor:
        return self.states


@dataclass(slots=True)
class Tower:
    """A frozen tower beside the model it was taken from.  device: where it works."""

    module: Any
    layer: int | None
    device: torch.device

    def identity(self, image_processor: Any) -> str:
        """Hash of everything a feature depends on besides the frame: how it becomes the tower's pixels, the tower."""
        versions = f"{torch.__version__}/{transformers.__version__}"
        hashed = hashlib.blake2b(f"{self.layer}/{self.device.type}/{versions}".encode(), digest_size=12)
        hashed.update(json.dumps(image_processor.to_dict(), sort_keys=True, default=str).encode())
        config = {name: str(value) for name, value in self.module.config.to_dict().items() if name != "_name_or_path"}
        hashed.update(json.dumps(config, sort_keys=True).encode())
        for name, tensor in self.module.state_dict().items():
            hashed.update(name.encode())
            hashed.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
        return hashed.hexdigest()

    @torch.no_grad()
    def encode(self, parts: Sequence[ImagePart]) -> list[Tensor]:
        """Features of each picture, on the CPU in the tower's dtype; made on the tower's device, where it stays."""
        if parts:
            self.module.to(self.device)
        found: list[Tensor] = []
        for start in range(0, len(parts), IMAGES_PER_CALL):
            some = list(parts[start : start + IMAGES_PER_CALL])
            filled = some + [some[-1]] * (IMAGES_PER_CALL - len(some))
            found += self._encode(filled)[: len(some)]
        return found

    def rest(self) -> None:
        """Make room on the device until there is something to encode again."""
        self.module.to("cpu")

    def _encode(self, parts: Sequence[ImagePart]) -> list[Tensor]:
        tensors = stack_images(parts)
        pixels = tensors[PIXELS].to(self.device, next(self.module.parameters()).dtype)
        if self.layer is None:
            grids = tensors["image_grid_thw"]
            merged = self.module(pixels, grid_thw=grids.to(self.device)).pooler_output
            sizes = (grids.prod(-1) // self.module.spatial_merge_size**2).tolist()
            return [one.cpu().contiguous() for one in merged.split(sizes)]
        crops = [part.tensors[PIXELS].shape[-4] if part.tensors[PIXELS].ndim == 5 else 1 for part in parts]
        if pixels.ndim == 5:
            pixels = torch.cat([one[:num] for one, num in zip(pixels, crops, strict=True)])
        states = self.module(pixels, output_hidden_states=True).hidden_states[self.layer]
        return [one.cpu().contiguous() for one in states.split(crops)]


def take_out(model: Any, *, device: torch.device) -> Tower | None:
    """Remove a frozen tower we know from a (peft) model; None leaves the model as it is."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    family = base.config.model_type
    inner = base.model
    if family in ("llava", "llava_next"):
        name, layer = "vision_tower", base.config.vision_feature_layer
        if not isinstance(layer, int):
            return None
    elif family in ("qwen2_vl", "qwen2_5_vl"):
        name, layer = "visual", None
    else:
        return None
    module = getattr(inner, name)
    if any(param.requires_grad for param in module.parameters()):
        return None
    module.eval()
    setattr(inner, name, Given(module, patches=layer is not None))
    return Tower(module, layer, device)


def feed(features: Sequence[Tensor]) -> Tensor:
    """A batch of features in the shape the model passes on to where its tower stood."""
    together = torch.cat(list(features))
    return together.unsqueeze(1) if together.ndim == 3 else together
