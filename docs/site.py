"""A hook of mkdocs: links from a page to files outside of docs/ work in the repository, and are text here."""

from __future__ import annotations

import re


def on_page_markdown(markdown: str, **_: object) -> str:
    """Keep the words of such a link, without the link."""
    return re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", markdown)
