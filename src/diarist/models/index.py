"""Package indexes: which archives of a project there are, and where.

The simple index in its JSON form (PEP 691) or as HTML (PEP 503), on a server or in a folder, and pages or folders of
archives ("find-links"). Archives that were yanked (PEP 592) count: what is wanted is pinned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import url2pathname

from diarist.models.index_settings import is_local
from diarist.models.transport import SourceError, Transport, without_secrets

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


@dataclass(frozen=True)
class Link:
    """An archive: its file name, where it is (an address, or the path of a local file), its size where known."""

    filename: str
    url: str
    size: int | None = None

    @property
    def path(self) -> Path | None:
        """The local file, where it is one."""
        return local_path(self.url) if is_local(self.url) else None


def local_path(location: str) -> Path:
    """The path of a `file:` address or a plain path; `~` is the home folder."""
    if urlsplit(location).scheme == "file":
        return Path(url2pathname(urlsplit(location).path))
    return Path(location).expanduser()


def find(transport: Transport, project: str) -> Iterator[list[Link] | SourceError]:
    """The archives of a project, place by place, local places first; a `SourceError` for one that cannot be read.

    A place is asked as the iterator comes to it. A local folder that is not there is no error.
    """
    settings = transport.settings
    name = re.sub(r"[-_.]+", "-", project).lower()
    places = [*settings.find_links, *(index.rstrip("/") + f"/{quote(name)}/" for index in settings.indexes)]
    for place in sorted(places, key=lambda place: not is_local(place)):
        try:
            yield _folder(local_path(place)) if is_local(place) else _page(transport, place)
        except SourceError as error:
            yield error


def _folder(folder: Path) -> list[Link]:
    """The archives in a folder, those that its `index.html` links to (the folder itself without one)."""
    page = folder if folder.is_file() else folder / "index.html"
    try:
        if page.is_file():
            return parse_html(page.read_text(encoding="utf-8", errors="replace"), page.absolute().as_uri())
        files = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise SourceError(f"{folder}: {error.strerror}") from error
    return [Link(file.name, file.absolute().as_uri()) for file in files if file.is_file()]


def _page(transport: Transport, url: str) -> list[Link]:
    with transport.open(url, Accept=ACCEPT) as response:
        base, kind = response.geturl(), response.headers.get_content_type()
        try:
            text = response.read().decode("utf-8", errors="replace")
        except (OSError, HTTPException) as error:
            raise SourceError(f"{without_secrets(url)}: the page broke off") from error
    is_json = kind.endswith("json") or text.lstrip().startswith("{")
    return parse_json(text, base) if is_json else parse_html(text, base)


def parse_json(text: str, base: str) -> list[Link]:
    """The files of a PEP 691 page; addresses are taken relative to `base`. Raises `SourceError`."""
    try:
        files: list[dict[str, Any]] = json.loads(text)["files"]
        return [Link(str(f["filename"]), urljoin(base, str(f["url"])), _size(f.get("size"))) for f in files]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{without_secrets(base)}: not a page of a package index") from error


def parse_html(text: str, base: str) -> list[Link]:
    """The links of a PEP 503 page; addresses are taken relative to `base`."""
    parser = _Anchors(base)
    parser.feed(text)
    return parser.links


def _size(value: Any) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


class _Anchors(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base
        self.links: list[Link] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if href and tag == "base":
            self.base = urljoin(self.base, href)
        elif href and tag == "a":
            url = urljoin(self.base, href.strip()).partition("#")[0]
            filename = unquote(urlsplit(url).path.rpartition("/")[2])
            self.links.append(Link(filename, url))
