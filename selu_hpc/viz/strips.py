"""Puts an episode's frames of one view into one picture that a page can hold.

Lossless WebP: over the frames of 24 episodes of a first round it was 29 % smaller than PNG. Does not own the page.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from selu_hpc.records import FramesTVHWC, View

WIDEST = 16383
"""Pixels a side of a WebP picture may have."""


def strip(frames: FramesTVHWC, view: View) -> dict[str, Any]:
    """The frames side by side, in lines of `columns`: `{"src": "data:image/webp…", "width": 96, …}` of one frame."""
    num_frames, _, height, width, channels = frames.shape
    columns = min(num_frames, max(1, WIDEST // width))
    lines = -(-num_frames // columns)
    sheet = np.zeros((lines * columns, height, width, channels), np.uint8)
    sheet[:num_frames] = frames[:, view.axis]
    sheet = sheet.reshape(lines, columns, height, width, channels).transpose(0, 2, 1, 3, 4)
    out = io.BytesIO()
    image = Image.fromarray(sheet.reshape(lines * height, columns * width, channels))
    image.save(out, format="WEBP", lossless=True, quality=80, method=4)
    source = f"data:image/webp;base64,{base64.b64encode(out.getvalue()).decode()}"
    return {"src": source, "width": width, "height": height, "columns": columns}
