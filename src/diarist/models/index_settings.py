"""The machine's own settings for package indexes: what pip and uv are told by environment and files.

Weights come from packages, so whoever can install packages can fetch weights: the same index, credentials, proxy,
certificates, timeout. Read are pip's variables (`PIP_*`) and `pip.conf` files, uv's variables (`UV_*`) and its system
and user `uv.toml`. Where no index is set, the one that pip or uv knows by itself is asked for: see `public_index()`.
"""

from __future__ import annotations

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any
from urllib.parse import quote

from diarist.core.config import read_file
from diarist.errors import WeightsError

TIMEOUT = 15.0
RETRIES = 3
ETC = Path("/etc")


@dataclass(frozen=True)
class IndexSettings:
    """Where packages come from, and how to connect.

    `indexes` are simple-index addresses, local folders first; `find_links` are folders or pages of archives. With
    `no_index`, somebody wants nothing but those.
    `cert` is a bundle (or a folder) of certificate authorities, `timeout` is in seconds.
    """

    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    retries: int = RETRIES


def read_settings() -> IndexSettings:
    """The settings of this machine, user and process. Raises `WeightsError` for a file that does not parse."""
    pip, uv = _pip_options(), _uv_options()
    find_links = [*pip.get("find-links", "").split(), *uv["find-links"]]
    indexes: list[str] = []
    no_index = uv["no-index"] or pip.get("no-index", "").lower() in ("1", "true", "yes", "on", "y", "t")
    if not no_index:
        main = [url for url in (pip.get("index-url"), uv["default"]) if url] or [public_index()]
        indexes = [url for url in [*main, *pip.get("extra-index-url", "").split(), *uv["indexes"]] if url]
    env = os.environ
    return IndexSettings(
        indexes=tuple(sorted(dict.fromkeys(indexes), key=lambda url: not is_local(url))),
        find_links=tuple(dict.fromkeys(find_links)),
        no_index=no_index,
        cert=pip.get("cert") or env.get("REQUESTS_CA_BUNDLE") or env.get("CURL_CA_BUNDLE") or None,
        client_cert=pip.get("client-cert"),
        proxy=pip.get("proxy"),
        trusted_hosts=tuple(pip.get("trusted-host", "").split()),
        timeout=_number(pip.get("timeout") or pip.get("default-timeout") or env.get("UV_HTTP_TIMEOUT"), TIMEOUT),
        retries=int(_number(pip.get("retries"), RETRIES)),
    )


def is_local(location: str) -> bool:
    """Whether a location is a file or folder of this machine: a `file:` address or a plain path."""
    scheme = location.partition(":")[0].lower() if ":" in location else ""
    return scheme in ("", "file") or len(scheme) == 1  # one letter: a drive


def public_index() -> str | None:
    """The index that the machine's installer uses when it is told nothing; None where there is no installer.

    It is read from pip: the one beside this interpreter, the one of the interpreter that this virtual environment
    was made from, or the one that `ensurepip` carries. Without any, uv is asked.
    """
    for folder in _pip_folders():
        spec = PathFinder.find_spec("index", [str(folder / "_internal" / "models")])
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return str(module.PyPI.simple_url)
    return _index_of_uv()


def find_uv() -> str | None:
    """The path of uv: as `uv run` says it, beside this interpreter, or on PATH."""
    beside = shutil.which("uv", path=str(Path(sys.executable).parent)) if sys.executable else None
    return os.environ.get("UV") or beside or shutil.which("uv")


def _pip_folders() -> Iterable[Path]:
    """Where a package `pip` may lie, as a folder or inside a wheel."""
    spec = importlib.util.find_spec("pip")
    yield from (Path(folder) for folder in (spec.submodule_search_locations if spec else None) or ())
    base = {"base": sys.base_prefix, "platbase": sys.base_prefix}
    for site in (sysconfig.get_path("purelib", vars=base), "/usr/lib/python3/dist-packages"):
        if Path(site, "pip").is_dir():
            yield Path(site, "pip")
    ensurepip = importlib.util.find_spec("ensurepip")
    bundles = [
        Path(folder, "_bundled") for folder in (ensurepip.submodule_search_locations if ensurepip else None) or ()
    ]
    for folder in [*bundles, Path(sysconfig.get_config_var("WHEEL_PKG_DIR") or "/usr/share/python-wheels")]:
        yield from (wheel / "pip" for wheel in sorted(folder.glob("pip-*.whl")))


def _index_of_uv() -> str | None:
    """uv's own index: it writes it down when it compiles an empty list of requirements, which needs no network."""
    uv = find_uv()
    if uv is None:
        return None
    command = [uv, "pip", "compile", "-", "--emit-index-url", "--no-header", "--offline", "--no-config", "--quiet"]
    try:
        done = subprocess.run(command, input="", capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"^--index-url\s+(\S+)", done.stdout, re.MULTILINE)
    return found.group(1) if found else None


def _number(text: str | None, otherwise: float) -> float:
    try:
        return max(0.0, float(text)) if text else otherwise
    except ValueError:
        return otherwise


def _home(*below: str) -> list[Path]:
    """A folder below the home folder; none where there is no home."""
    try:
        return [Path.home().joinpath(*below)]
    except RuntimeError:
        return []


def _config_folders() -> tuple[list[Path], list[Path]]:
    """Folders that hold `pip/` and `uv/` for everybody, and for this user; the weaker first."""
    env = os.environ
    if sys.platform == "win32":
        user = [Path(env["APPDATA"])] if env.get("APPDATA") else _home("AppData", "Roaming")
        return [Path(env.get("PROGRAMDATA", "C:/ProgramData"))], user
    shared = [Path(p) for p in env.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep) if p]
    user = [Path(env["XDG_CONFIG_HOME"])] if env.get("XDG_CONFIG_HOME") else _home(".config")
    if sys.platform == "darwin":
        return [Path("/Library/Application Support"), *shared], [*user, *_home("Library", "Application Support")]
    return shared, user


def _pip_files() -> list[Path]:
    """pip's configuration files, the weaker first."""
    only = os.environ.get("PIP_CONFIG_FILE")
    if only == os.devnull:
        return []
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    shared, user = _config_folders()
    files = [folder / "pip" / name for folder in shared]
    files += [] if sys.platform == "win32" else [ETC / name]
    files += [folder / name for folder in _home("pip" if sys.platform == "win32" else ".pip")]
    files += [folder / "pip" / name for folder in user]
    return [*files, Path(sys.prefix, name), *([Path(only)] if only else [])]


def _pip_options() -> dict[str, str]:
    """pip's options by their long name, from files and then from the environment, which wins."""
    merged: dict[str, dict[str, str]] = {"global": {}, "install": {}, "download": {}}
    for path in _pip_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(path.read_text(encoding="utf-8"))
        except OSError:
            continue
        except (configparser.Error, UnicodeDecodeError) as error:
            raise WeightsError(f"pip's configuration '{path}' does not parse: {str(error).splitlines()[0]}") from error
        for section, options in merged.items():
            if parser.has_section(section):
                options.update({_pip_key(k): v for k, v in parser.items(section) if v})
    env = {_pip_key(k[4:]): v for k, v in os.environ.items() if k.startswith("PIP_") and v}
    return {**merged["global"], **merged["install"], **merged["download"], **env}


def _pip_key(name: str) -> str:
    return name.lower().replace("_", "-").lstrip("-")


def _uv_files() -> list[Path]:
    """uv's configuration files that hold for every project, the weaker first."""
    if os.environ.get("UV_CONFIG_FILE"):
        return [Path(os.environ["UV_CONFIG_FILE"])]
    if os.environ.get("UV_NO_CONFIG"):
        return []
    shared, user = _config_folders()
    etc = [] if sys.platform == "win32" else [ETC]
    return [folder / "uv" / "uv.toml" for folder in [*etc, *shared, *user]]


def _uv_options() -> dict[str, Any]:
    """`default` (an address or None), `indexes`, `find-links` (lists), `no-index`."""
    options: dict[str, Any] = {"default": None, "indexes": [], "find-links": [], "no-index": False}
    for path in _uv_files():
        if path.is_file():
            table = read_file(path)
            _add_uv(options, table)
            _add_uv(options, table.get("pip", {}))
    env = os.environ
    named = [_uv_named(text) for text in env.get("UV_INDEX", "").split()]
    options["indexes"] = [*named, *env.get("UV_EXTRA_INDEX_URL", "").split(), *options["indexes"]]
    default = env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL")
    options["default"] = _uv_named(default) if default else options["default"]
    options["find-links"] += [link for link in env.get("UV_FIND_LINKS", "").split(",") if link]
    options["no-index"] = options["no-index"] or env.get("UV_NO_INDEX", "").lower() in ("1", "true")
    return options


def _add_uv(options: dict[str, Any], table: Mapping[str, Any]) -> None:
    """Add what one table of a `uv.toml` says; indexes that are only for packages pinned to them are left out."""
    options["default"] = table.get("index-url", options["default"])
    options["indexes"] = [*table.get("extra-index-url", ()), *options["indexes"]]
    options["find-links"] += table.get("find-links", ())
    options["no-index"] = bool(table.get("no-index", options["no-index"]))
    for index in table.get("index", ()):
        url = _with_credentials(str(index.get("url", "")), str(index.get("name", "")))
        if index.get("default"):
            options["default"] = url
        elif not index.get("explicit"):
            options["indexes"].append(url)


def _uv_named(text: str) -> str:
    """The address of `address` or `name=address`."""
    named = re.fullmatch(r"([A-Za-z0-9._-]+)=(.+)", text)
    return _with_credentials(named.group(2), named.group(1)) if named else text


def _with_credentials(url: str, name: str) -> str:
    """An index's address with the user and password that uv reads from `UV_INDEX_<NAME>_USERNAME` and `_PASSWORD`."""
    prefix = "UV_INDEX_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
    user, password = (quote(os.environ.get(f"{prefix}_{part}", ""), safe="") for part in ("USERNAME", "PASSWORD"))
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{user}:{password}@{rest}" if name and user and separator else url
