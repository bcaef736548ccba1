import json

import pytest
from package_server import WHEEL

from diarist.models.index import Link, find, local_path, parse_html, parse_json
from diarist.models.index_settings import IndexSettings
from diarist.models.transport import SourceError, Transport

BASE = "https://index.example/simple/toy-voices/"


def found(*indexes, links=()):
    return list(find(Transport(IndexSettings(indexes=indexes, find_links=links, retries=0)), "Toy_.Voices"))


def test_html_page():
    page = """<!DOCTYPE html><html><head><base href="https://files.example/"></head><body>
    <a href="a/toy-1.0.tar.gz#sha256=00" data-requires-python="&gt;=3.8">toy-1.0.tar.gz</a>
    <a href=" /b/toy%2Bcpu-1.0.whl " data-yanked="broken">toy</a> <a name="x">no link</a> <a href="">nothing</a>"""
    assert parse_html(page, BASE) == [
        Link("toy-1.0.tar.gz", "https://files.example/a/toy-1.0.tar.gz"),
        Link("toy+cpu-1.0.whl", "https://files.example/b/toy%2Bcpu-1.0.whl"),
    ]


def test_json_page():
    files = [
        {"filename": "toy-1.0.whl", "url": "../../toy-1.0.whl", "size": 12, "yanked": "broken"},
        {"filename": "toy-1.1.whl", "url": "https://files.example/toy-1.1.whl", "size": None},
    ]
    assert parse_json(json.dumps({"files": files}), BASE) == [
        Link("toy-1.0.whl", "https://index.example/toy-1.0.whl", 12),
        Link("toy-1.1.whl", "https://files.example/toy-1.1.whl"),
    ]


@pytest.mark.parametrize("text", ["{", "[]", '{"files": 3}', '{"files": [{"url": "x"}]}', "null"])
def test_json_that_is_no_page(text):
    with pytest.raises(SourceError, match=r"index\.example.*not a page of a package index"):
        parse_json(text, BASE)


@pytest.mark.parametrize("as_json", [True, False])
def test_page_of_a_server(server, as_json):
    server.json = as_json
    (links,) = found(server.index + "/")
    size = len(server.files[WHEEL]) if as_json else None
    assert links == [Link(WHEEL, f"http://{server.address}/files/{WHEEL}", size)]
    assert links[0].path is None


def test_json_without_its_content_type(server):
    server.html = json.dumps({"files": [{"filename": "a.whl", "url": "a.whl"}]})
    assert found(server.index)[0][0].filename == "a.whl"


@pytest.mark.parametrize("as_json", [True, False])
def test_page_that_breaks_off(server, as_json):
    server.json, server.truncate_at, server.truncate_times = as_json, 30, 1
    (error,) = found(server.index)
    assert isinstance(error, SourceError) and "the page broke off" in str(error)


def test_page_that_is_no_index(server):
    server.html = "\x00\xff<a <a href"
    assert found(server.index) == [[]]


def test_places_that_fail_are_told_in_turn(server, tmp_path):
    (tmp_path / "a.whl").write_bytes(b"")
    first, second, third = found(
        "http://127.0.0.1:9/simple", server.index, links=(f"http://{server.address}/missing", str(tmp_path))
    )[:3]
    assert first == [Link("a.whl", (tmp_path / "a.whl").as_uri())]
    assert isinstance(second, SourceError) and "HTTP 404" in str(second)
    assert isinstance(third, SourceError) and "127.0.0.1:9" in str(third)


def test_folder_with_names_that_need_quoting(tmp_path):
    folder = tmp_path / "a b#c%20d"
    folder.mkdir()
    (folder / "toy+cpu-1.0.whl").write_bytes(b"x")
    ((link,),) = found(links=(str(folder),))
    assert link.path.read_bytes() == b"x"
    ((again,),) = found(links=(folder.as_uri(),))
    assert again == link


def test_file_of_links(tmp_path):
    (tmp_path / "toy.whl").write_bytes(b"x")
    (tmp_path / "links.html").write_text('<a href="toy.whl">toy</a>')
    ((link,),) = found(links=(str(tmp_path / "links.html"),))
    assert link.path == tmp_path / "toy.whl"


def test_folder_that_is_not_there(tmp_path):
    assert found((tmp_path / "gone").as_uri(), links=(str(tmp_path / "gone"),)) == [[], []]


def test_home_in_a_path(machine, tmp_path):
    assert local_path("~/wheels") == tmp_path / "home" / "wheels"
