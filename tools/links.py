"""Checks the built pages: every link within them arrives, and nothing is asked of another machine.

python tools/links.py docs/_build/html
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

RESOURCES = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "img": ("src", "srcset"),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "video": ("src", "poster"),
}
"""What a browser fetches by itself, by tag."""
IN_STYLES = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s;]+)""")


class Page(HTMLParser):
    """What a page points at, and where it can be pointed at."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.names: set[str] = set()
        self.links: list[str] = []
        self.resources: list[str] = []
        self._is_style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note names, links and what the browser fetches."""
        found = {key: value for key, value in attrs if value is not None}
        self.names |= {found[key] for key in ("id", "name") if key in found}
        self._is_style = tag == "style"
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        for key in RESOURCES.get(tag, ()):
            if key in found:
                each = found[key].split(",") if key == "srcset" else [found[key]]
                self.resources += [one.split()[0] for one in each if one.strip()]
        self.resources += IN_STYLES.findall(found.get("style", ""))

    def handle_data(self, data: str) -> None:
        """Styles may fetch too."""
        if self._is_style:
            self.resources += IN_STYLES.findall(data)


def faults(site: Path) -> list[str]:
    """What is wrong with the pages under a folder, one line each."""
    site = site.resolve()
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    found = [] if pages else [f"{site}: no pages"]
    for file, page in pages.items():
        for target in page.resources:
            found += [f"{file.relative_to(site)}: {reason}" for reason in _fetched(file, target)]
        for target in page.links:
            reason = _missed(site, file, target, pages)
            found += [f"{file.relative_to(site)}: {reason}"] if reason else []
    for file in sorted(site.rglob("*.css")):
        for target in IN_STYLES.findall(file.read_text(encoding="utf-8")):
            found += [f"{file.relative_to(site)}: {reason}" for reason in _fetched(file, target)]
    return list(dict.fromkeys(found))


def _fetched(file: Path, target: str) -> list[str]:
    """Why a resource is not fetched from these files; empty if it is."""
    parts = urlsplit(target)
    if parts.scheme == "data" or not parts.path:
        return []
    if parts.scheme or parts.netloc:
        return [f"asks another machine for {target}"]
    place = file.parent / unquote(parts.path)
    return [] if place.is_file() else [f"there is no {target}"]


def _missed(site: Path, file: Path, target: str, pages: dict[Path, Page]) -> str:
    """Why a link does not arrive; empty if it does, or leads out."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return ""
    place = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if not place.is_file() or not place.is_relative_to(site):
        return f"there is no {target}"
    name = unquote(parts.fragment)
    page = pages.get(place)
    if name and page is not None and name not in page.names:
        return f"no such place: {target}"
    return ""


def main(words: list[str]) -> int:
    """Print what is wrong; exit with 1 if anything is."""
    site = Path(words[0] if words else "docs/_build/html")
    wrong = faults(site)
    for line in wrong:
        print(line)
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
