"""docs/results.md and the summaries it is made of say the same."""

from __future__ import annotations

from pathlib import Path

from selu_hpc.evaluate import read_summaries
from selu_hpc.rl4vlm.summary import is_game
from selu_hpc.selu.leads import leads_markdown, make_leads
from selu_hpc.selu.rows import make_rows
from selu_hpc.selu.table import markdown

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_published_table_is_what_its_summaries_come_to_by_todays_code():
    """Else: python benchmarks/selu.py --table-only"""
    summaries = [one for one in read_summaries(DOCS / "results") if not is_game(one)]
    page = (DOCS / "results.md").read_text()
    assert markdown(make_rows(summaries)) in page
    assert leads_markdown(make_leads(summaries)) in page
