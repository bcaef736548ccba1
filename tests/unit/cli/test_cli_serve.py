"""`diarist serve` and `diarist client`: what is said before anything runs."""

import argparse
import sys

import numpy as np
import pytest

from diarist.cli import client, main, serve
from diarist.errors import DiaristError, UsageError
from toy_house import write_wav

for package in ("fastapi", "uvicorn", "websockets", "prometheus_client"):
    pytest.importorskip(package)


@pytest.fixture(autouse=True)
def no_token(monkeypatch):
    monkeypatch.delenv(serve.TOKEN_VARIABLE, raising=False)


def failed(capsys, *words):
    code = main.main(list(words))
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and err.startswith("diarist: error: ")
    return code, err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tls-key", "k.pem"), "--tls-key needs --tls-cert"),
        (("--tls-cert", "none.pem"), "cannot use the certificate 'none.pem'"),
        (("--port", "70000"), "a port is a number"),
        (("--token", "a b"), "a token is"),
        (("--origins", "example.org"), "an origin is like"),
        (("--max-buffered", "1"), "'warn_buffered'"),
        (("--idle", "0"), "'idle' must be"),
        (("--preset", "ammi"), "did you mean 'ami'"),
        (("--latency", "0.1"), "'latency' must be between"),
    ],
)
def test_a_call_that_cannot_be_meant(capsys, words, message):
    code, err = failed(capsys, "serve", *words)
    assert code == 2 and message in err


def test_a_certificate_that_is_none(capsys, tmp_path):
    (tmp_path / "c.pem").write_text("hello")
    code, err = failed(capsys, "serve", "--tls-cert", str(tmp_path / "c.pem"))
    assert code == 2 and "cannot use the certificate" in err


@pytest.mark.parametrize("package", ["prometheus_client", "fastapi", "uvicorn", "websockets"])
def test_without_the_extra_the_pip_line_is_said(capsys, monkeypatch, package):
    monkeypatch.setattr("diarist.server.engines.Engines.load", lambda self: None)
    monkeypatch.setitem(sys.modules, package, None)
    for name in [name for name in sys.modules if name.startswith(package + ".")]:
        monkeypatch.setitem(sys.modules, name, None)
    code, err = failed(capsys, "serve", "--port", "0")
    assert code == 3 and "pip install 'diarist[serve]'" in err


def test_without_websockets_the_client_says_so(capsys, monkeypatch, tmp_path):
    wav = write_wav(tmp_path / "a.wav", np.zeros(1000))
    monkeypatch.setitem(sys.modules, "websockets.asyncio.client", None)
    code, err = failed(capsys, "client", str(wav))
    assert code == 3 and "diarist[serve]" in err


def test_a_port_that_is_taken(capsys, monkeypatch):
    import socket

    monkeypatch.setattr("diarist.server.engines.Engines.load", lambda self: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, err = failed(capsys, "serve", "--port", port)
    assert code == 1 and f"cannot listen on 127.0.0.1 port {port}: Address already in use" in err


def arguments(module, *words):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    module.configure(parser)
    return parser.parse_args(words)


def test_diarts_own_words_are_understood():
    words = "--host 0.0.0.0 --port 7007 --pipeline VoiceActivityDetection --segmentation pyannote/segmentation-3.0"
    words += " --embedding e.onnx --duration 5 --step 0.5 --latency 0.5 --tau-active 0.5 --rho-update 0.3 --delta-new 1"
    words += " --gamma 3 --beta 10 --max-speakers 20 --cpu --output out --hf-token true --normalize-embedding-weights"
    args = arguments(serve, *words.split())
    assert (args.host, args.port, args.pipeline, str(args.output)) == ("0.0.0.0", 7007, "VoiceActivityDetection", "out")
    args = arguments(client, "microphone:1", *"--host h --port 7 --step 0.5 -sr 44100 -o a.rttm".split())
    assert (args.source, args.sample_rate, args.output_file.name) == ("microphone:1", 44_100, "a.rttm")


def test_where_a_token_comes_from(tmp_path, monkeypatch):
    path = tmp_path / "token"
    path.write_text("from file\n")
    assert serve.token_of(arguments(serve)) is None
    assert serve.token_of(arguments(serve, "--token", "x")) == "x"
    assert serve.token_of(arguments(serve, "--token-file", str(path))) == "from file"
    monkeypatch.setenv(serve.TOKEN_VARIABLE, "y")
    assert serve.token_of(arguments(serve)) == "y"
    with pytest.raises(UsageError, match="give one of them"):
        serve.token_of(arguments(serve, "--token", "x", "--token-file", str(path)))
    with pytest.raises(DiaristError, match="cannot read the token"):
        serve.token_of(arguments(serve, "--token-file", str(tmp_path / "none")))


def test_a_client_who_cannot_mean_it(capsys, tmp_path):
    wav = str(write_wav(tmp_path / "a.wav", np.zeros(1000)))
    assert failed(capsys, "client", "none.wav")[0] == 1
    assert failed(capsys, "client", wav, "--step", "0")[0] == 2
    assert failed(capsys, "client", wav, "-sr", "1")[0] == 2
    assert failed(capsys, "client", wav, "--port", "0")[0] == 2
    assert failed(capsys, "client", wav, "--tls-ca", wav)[0] == 1


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ((), "ws://127.0.0.1:7007/v1/stream"),
        (("--host", "::1", "--port", "8"), "ws://[::1]:8/v1/stream"),
        (("--host", "a.example", "--insecure"), "wss://a.example:7007/v1/stream"),
    ],
)
def test_addresses(words, url):
    assert client._url(arguments(client, "a.wav", *words)) == url


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--engine", "nemmo"), 2, "unknown engine 'nemmo'; did you mean 'nemo'"),
        (("--engine", "nemo-style", "--latency", "1"), 2, "--latency is of the live pipeline: leave out --engine"),
        (("--engine", "nemo-style", "--network-model", "nemotron"), 2, "--network-model belongs to --engine"),
        (("--engine", "nemo-style", "--engine-preset", "metting"), 2, "did you mean 'meeting'"),
        (("--engine", "sortformer"), 3, "pip install 'diarist[nemo]'"),
    ],
)
def test_an_engine_that_cannot_be(capsys, monkeypatch, words, code, message):
    monkeypatch.setattr(serve, "missing", lambda extra: ["nemo"] if extra == "nemo" else [])
    told, err = failed(capsys, "serve", *words)
    assert told == code and message in err
