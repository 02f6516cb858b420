"""Reads a page as a browser would, its elements and the data in it, and asks a browser how it lays it out."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from selu_hpc.rounds.rundir import RunDir
from selu_hpc.viz.replay import make_replay

PRINTED = """for (const rule of page.styleSheets[0].cssRules) {
  if (rule.conditionText === "print") rule.media.mediaText = "all";
}"""
"""In an expression: what the page looks like on paper."""


def needs_browser(test):
    missing = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
    return pytest.mark.browser(missing(test))


def in_a_browser(made: Path, asked: str, folder: Path, *, width: int = 360, dark: bool = False) -> Any:
    """What a JavaScript expression about `page`, its document, comes to in a window of this width.

    The window is a frame, for Chromium's own does not get narrower than 500 pixels.
    """
    inside = html.escape(made.read_text(encoding="utf-8"))
    outer = folder / "outer.html"
    outer.write_text(
        f'<!doctype html><meta charset=utf-8><iframe width={width} height=900 srcdoc="{inside}"></iframe><script>'
        "onload = () => { const page = document.querySelector('iframe').contentDocument; "
        f"document.title = JSON.stringify({asked}); }}</script>",
        encoding="utf-8",
    )
    line = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    line += ["--hide-scrollbars", f"--blink-settings=preferredColorScheme={0 if dark else 1}", "--dump-dom"]
    shown = subprocess.run([*line, outer.as_uri()], capture_output=True, text=True, check=True).stdout
    title = re.search("<title>(.*?)</title>", shown)
    assert title, "the page's own script failed, or the expression"
    return json.loads(html.unescape(title[1]))


class Page(HTMLParser):
    """`Page(path)`: `tags` counts start tags, `scripts` holds the text of every script, `attributes` every value."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.title = ""
        self.feed(self.text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "link", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        if self.open[-1:] == ["style"]:
            self.styles.append(data)
        if self.open[-1:] == ["title"]:
            self.title += data

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.scripts[0])

    @property
    def ids(self) -> list[str]:
        return [one["id"] for one in self.data["episodes"]]

    def policy(self) -> str:
        return next(value for tag, name, value in self.attributes if tag == "meta" and value.startswith("default-src"))


def page_of(run: RunDir, **options: Any) -> Page:
    return Page(make_replay(run, **options))
