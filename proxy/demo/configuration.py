"""The configuration that the whole demo runs with, made when it starts: the default one and the controlled calls."""
import os
import secrets
import socket
import wave
from importlib.resources import files
from pathlib import Path

from sipcore.media.g711 import DECODED

from .cast import NETWORK, WHISPER_TONE
from .g711 import RATE, tone
from .voice import can_speak

SUMMARY = ('{ summary = "Summarise for the person who takes the call over what it is about.", '
           'fallback = "A caller is handed over to you.", wait = 6, longest = 10 }')
TONE_SECONDS = 2
_TONE = '{ file = "whisper.wav" }'


def free_port(host: str) -> int:
    """A TCP port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def prepare(folder: Path, model: str, network: str = NETWORK) -> tuple[Path, str, Path]:
    """Write it into a folder: (file, URL of its API, file with its token).

    model: URL of the language model. network: the first three numbers of all addresses.
    """
    host = f"{network}.1"
    api = f"{host}:{free_port(host)}"
    token = folder / "token"
    token.touch(0o600)
    token.write_text(secrets.token_urlsafe(24) + "\n")
    if not can_speak():
        _write_tone(folder / "whisper.wav")
    text = (files("proxy") / "default.toml").read_text() + (files("proxy.demo") / "controlled.toml").read_text()
    text = text.replace("127.0.0.", f"{network}.").replace('"API"', f'"{api}"').replace('"MODEL"', f'"{model}"')
    file = folder / "demo.toml"
    file.write_text(text.replace("= WHISPER", f"= {SUMMARY if can_speak() else _TONE}"))
    return file, f"http://{api}", token


def _write_tone(file: Path) -> None:
    """What is whispered where nothing can be spoken."""
    samples = [DECODED["PCMU"][byte] for byte in tone("PCMU", WHISPER_TONE)] * TONE_SECONDS
    with wave.open(os.fspath(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
