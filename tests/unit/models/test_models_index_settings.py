import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from diarist.errors import ConfigError, WeightsError
from diarist.models import index_settings
from diarist.models.index_settings import is_local, public_index, read_settings

MAIN = "https://main.example/simple"


@pytest.fixture
def files(machine, tmp_path):
    """Functions that write pip's and uv's configuration of a user."""
    machine.delenv("PIP_CONFIG_FILE")
    machine.delenv("UV_NO_CONFIG")
    machine.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    machine.setenv("XDG_CONFIG_DIRS", str(tmp_path / "shared"))
    machine.setattr(sys, "prefix", str(tmp_path / "venv"))
    machine.setattr(sys, "platform", "linux")
    machine.setattr(index_settings, "ETC", tmp_path / "etc")
    machine.setattr(index_settings, "public_index", lambda: "https://public.example/simple")

    def write(path, text):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")

    return write


def test_variables_of_pip(machine):
    machine.setenv("PIP_INDEX_URL", MAIN)
    machine.setenv("PIP_EXTRA_INDEX_URL", "https://a.example/simple file:///srv/simple")
    machine.setenv("PIP_FIND_LINKS", "/srv/wheels https://b.example/links")
    machine.setenv("PIP_CERT", "/etc/ca.pem")
    machine.setenv("PIP_CLIENT_CERT", "/etc/me.pem")
    machine.setenv("PIP_PROXY", "http://proxy.example:3128")
    machine.setenv("PIP_TRUSTED_HOST", "a.example b.example:8443")
    machine.setenv("PIP_DEFAULT_TIMEOUT", "7")
    machine.setenv("PIP_RETRIES", "2")
    assert read_settings() == index_settings.IndexSettings(
        indexes=("file:///srv/simple", MAIN, "https://a.example/simple"),
        find_links=("/srv/wheels", "https://b.example/links"),
        cert="/etc/ca.pem",
        client_cert="/etc/me.pem",
        proxy="http://proxy.example:3128",
        trusted_hosts=("a.example", "b.example:8443"),
        timeout=7.0,
        retries=2,
    )


def test_files_of_pip_the_nearer_wins(files):
    files("shared/pip/pip.conf", "[global]\nindex-url = https://1.example/simple\ntimeout = 3\ncert = /shared.pem\n")
    files("home/.pip/pip.conf", "[global]\nindex_url = https://2.example/simple\nretries = 9\n")
    files(
        "config/pip/pip.conf",
        "[global]\nextra-index-url =\n    https://x.example/simple\n    https://y.example/simple\n",
    )
    files("venv/pip.conf", f"[install]\nindex-url = {MAIN}\n[list]\ntimeout = 99\n")
    settings = read_settings()
    assert settings.indexes == (MAIN, "https://x.example/simple", "https://y.example/simple")
    assert (settings.timeout, settings.retries, settings.cert) == (3.0, 9, "/shared.pem")


def test_pip_config_file_and_environment_win(files, machine, tmp_path):
    files("config/pip/pip.conf", "[global]\nindex-url = https://user.example/simple\ntimeout = 3\n")
    files("given.conf", "[global]\nindex-url = https://given.example/simple\ntimeout = 4\n")
    machine.setenv("PIP_CONFIG_FILE", str(tmp_path / "given.conf"))
    machine.setenv("PIP_TIMEOUT", "5")
    settings = read_settings()
    assert settings.indexes == ("https://given.example/simple",)
    assert settings.timeout == 5.0


def test_file_of_pip_that_does_not_parse(files):
    files("config/pip/pip.conf", "index-url = no section\n")
    with pytest.raises(WeightsError, match=r"pip\.conf' does not parse") as caught:
        read_settings()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["soon", "", "-3"])
def test_numbers_that_are_none(machine, text):
    machine.setenv("PIP_INDEX_URL", MAIN)
    machine.setenv("PIP_TIMEOUT", text)
    assert read_settings().timeout in (15.0, 0.0)


def test_variables_of_uv(machine):
    machine.setenv("UV_DEFAULT_INDEX", f"main={MAIN}")
    machine.setenv("UV_INDEX", "corp=https://corp.example/simple https://other.example/simple?a=b")
    machine.setenv("UV_EXTRA_INDEX_URL", "https://extra.example/simple")
    machine.setenv("UV_INDEX_CORP_USERNAME", "me@work")
    machine.setenv("UV_INDEX_CORP_PASSWORD", "s/cret")
    machine.setenv("UV_FIND_LINKS", "/srv/wheels,https://b.example/links")
    machine.setenv("UV_HTTP_TIMEOUT", "9")
    settings = read_settings()
    assert settings.indexes == (
        MAIN,
        "https://me%40work:s%2Fcret@corp.example/simple",
        "https://other.example/simple?a=b",
        "https://extra.example/simple",
    )
    assert settings.find_links == ("/srv/wheels", "https://b.example/links")
    assert settings.timeout == 9.0


def test_files_of_uv(files):
    files("shared/uv/uv.toml", 'index-url = "https://shared.example/simple"\n')
    files(
        "config/uv/uv.toml",
        f"""
        find-links = ["/srv/wheels"]
        [[index]]
        url = "{MAIN}"
        default = true
        [[index]]
        url = "https://second.example/simple"
        [[index]]
        name = "torch"
        url = "https://only-for-torch.example/simple"
        explicit = true
        [pip]
        extra-index-url = ["https://third.example/simple"]
        """,
    )
    settings = read_settings()
    assert set(settings.indexes) == {MAIN, "https://second.example/simple", "https://third.example/simple"}
    assert settings.indexes[0] == MAIN
    assert settings.find_links == ("/srv/wheels",)


def test_file_of_uv_that_does_not_parse(files):
    files("config/uv/uv.toml", "index-url = \n")
    with pytest.raises(ConfigError, match=r"uv\.toml' is not valid toml"):
        read_settings()


def test_public_index_only_where_no_other_is_set(files, machine):
    assert read_settings().indexes == ("https://public.example/simple",)
    machine.setenv("PIP_EXTRA_INDEX_URL", "https://extra.example/simple")
    assert read_settings().indexes == ("https://public.example/simple", "https://extra.example/simple")
    machine.setenv("UV_INDEX_URL", MAIN)
    assert read_settings().indexes == (MAIN, "https://extra.example/simple")


@pytest.mark.parametrize("variable", ["PIP_NO_INDEX", "UV_NO_INDEX"])
def test_no_index_leaves_the_links(machine, variable):
    machine.setenv(variable, "true")
    machine.setenv("PIP_INDEX_URL", MAIN)
    machine.setenv("PIP_FIND_LINKS", "/srv/wheels")
    assert read_settings().indexes == ()
    assert read_settings().find_links == ("/srv/wheels",)


def test_without_a_home(machine, tmp_path):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    machine.setattr(Path, "home", homeless)
    machine.delenv("PIP_CONFIG_FILE")
    machine.delenv("UV_NO_CONFIG")
    machine.setattr(index_settings, "ETC", tmp_path / "etc")
    machine.setenv("PIP_INDEX_URL", MAIN)
    assert read_settings().indexes[-1] == MAIN


@pytest.mark.parametrize(
    ("location", "local"),
    [("/srv/x", True), ("x/y", True), ("file:///srv", True), ("C:/srv", True), ("https://a.example/", False)],
)
def test_is_local(location, local):
    assert is_local(location) == local


FAKE_PIP = "class _Index:\n    simple_url = '{}'\nPyPI = _Index()\n"


def test_public_index_comes_from_pip(machine, tmp_path):
    folder = tmp_path / "pip" / "_internal" / "models"
    folder.mkdir(parents=True)
    (folder / "index.py").write_text(FAKE_PIP.format(MAIN))
    machine.setattr(index_settings, "_pip_folders", lambda: [tmp_path / "nothing", tmp_path / "pip"])
    assert public_index() == MAIN


def test_public_index_comes_from_the_wheel_of_pip(machine, tmp_path):
    wheel = tmp_path / "pip-99-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("pip/_internal/models/index.py", FAKE_PIP.format(MAIN))
    machine.setattr(index_settings, "_pip_folders", lambda: [wheel / "pip"])
    assert public_index() == MAIN


def test_public_index_without_pip_or_uv(machine):
    machine.setattr(index_settings, "_pip_folders", lambda: [])
    machine.setattr(index_settings, "find_uv", lambda: None)
    assert public_index() is None
    machine.setattr(index_settings, "find_uv", lambda: "/nowhere/uv")
    assert public_index() is None


@pytest.mark.skipif(index_settings.find_uv() is None, reason="no uv here")
def test_public_index_comes_from_uv(machine):
    uv = index_settings.find_uv()
    machine.setattr(index_settings, "_pip_folders", lambda: [])
    machine.setattr(index_settings, "find_uv", lambda: uv)
    machine.setenv("UV_INDEX_URL", MAIN)
    assert str(public_index()).startswith("https://")


PRINT = "from diarist.models import index_settings as s; print([str(f) for f in s._pip_folders()], s.public_index())"


def test_environment_without_pip_still_knows_the_index(tmp_path):
    """An environment as uv makes it; the interpreter it is made from has a pip, or the wheel of one."""
    ensurepip = Path(sysconfig.get_path("stdlib"), "ensurepip", "_bundled")
    site = Path(sysconfig.get_path("purelib", vars={"base": sys.base_prefix, "platbase": sys.base_prefix}))
    if not (ensurepip.is_dir() or (site / "pip").is_dir()):
        pytest.skip("no pip anywhere beside this interpreter")
    venv.EnvBuilder(with_pip=False, symlinks=sys.platform != "win32").create(tmp_path / "venv")
    python = next((tmp_path / "venv").glob("[bS]*/python*"))
    assert shutil.which(python) is not None
    source = Path(index_settings.__file__).parents[2]
    code = f"import sys; sys.path.insert(0, {str(source)!r})\n{PRINT}"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, timeout=60)
    if "No module named 'tomli'" in done.stderr:
        pytest.skip("Python 3.10 needs tomli, which this empty environment does not have")
    assert done.returncode == 0, done.stderr
    folders, _, index = done.stdout.rstrip().rpartition(" ")
    assert str(tmp_path) not in folders
    assert index.startswith("https://") and index.endswith("/simple")
