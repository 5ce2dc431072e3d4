"""Loading the configuration: the file, its types, everything that must hold between its tables, its secrets."""
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from proxy.config import Config, ConfigError, Problem, decode, read_secret, reference_keys, token_key
from proxy.config.users import hashes_of, users_of
from proxy.machine import closed_folders, strangers
from proxy.policy.validate import problems_of
from proxy.streaming import unusable


def load(file: Path, *, listen: str = "", epoch: int = 0, here: bool = False) -> Config:
    """Read and check a file; listen (`udp:127.0.0.1:5060`) takes the place of its listeners.

    here: it is to run on this machine, so the media addresses and folders are tried as well.
    The secrets that it names are read too, to see that they are there. Raises ConfigError with every problem
    found; nothing else has happened then.
    """
    return check(_text(file), file, listen=listen, epoch=epoch, here=here)


def load_without_secrets(file: Path, *, listen: str = "") -> Config:
    """The same for whoever only asks a running edge: its secrets may be none of theirs."""
    return decode(_text(file), problems_of, file=str(file), listen=listen)


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(str(file), [Problem((), f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), [Problem((), f"is not UTF-8 at byte {error.start}")]) from None


def check(text: str, file: Path, *, listen: str = "", epoch: int = 0, here: bool = False) -> Config:
    """The same with the text that the file would have."""
    def further(config: Config) -> list[Problem]:
        problems = problems_of(config)
        if here and not problems:
            problems = [*strangers(config), *closed_folders(config)]
        return [*problems, *_unreadable(config, file.parent)]

    return decode(text, further, file=str(file), listen=listen, epoch=epoch)


def _unreadable(config: Config, folder: Path) -> Iterator[Problem]:
    """Secrets that are not there."""
    yield from unusable(config, folder)
    try:
        token_key(config.secrets, folder)
    except ValueError as error:
        name = "token_key_env" if config.secrets.token_key_env else "token_key_file"
        yield Problem(("secrets", name), str(error))
    reference = config.reference
    try:
        reference_keys(reference, folder)
    except ValueError as error:
        yield Problem(("reference", "key_env" if reference.key_env else "key_file"), str(error))
    named: list[tuple[tuple[str | int, ...], str, str, str]] = [
        (("api",), "token", config.api.token_file, config.api.token_env),
        (("reference",), "token", reference.token_file, reference.token_env),
        (("model",), "key", config.model.key_file, config.model.key_env),
        (("speech",), "key", config.speech.key_file, config.speech.key_env)]
    named += [(("webhook", index), "secret", one.secret_file, one.secret_env)
              for index, one in enumerate(config.webhooks)]
    named += [(("request", index), "secret", one.secret_file, one.secret_env)
              for index, one in enumerate(config.requests)]
    for path, name, in_file, in_env in named:
        key = (*path, f"{name}_env" if in_env else f"{name}_file")
        try:
            if (in_file or in_env) and not read_secret(folder, in_file, in_env).strip():
                yield Problem(key, "is empty; expected a secret")
        except ValueError as error:
            yield Problem(key, str(error))
    yield from _passwords(config, folder)


def _passwords(config: Config, folder: Path) -> Iterator[Problem]:
    """Users of realms and credentials for upstreams that are not there, or cannot be read."""
    named: list[tuple[tuple[str | int, ...], str, str, str, Callable[[bytes], object]]] = [
        (("realm", index), "users", one.users_file, one.users_env, partial(users_of, realm=one))
        for index, one in enumerate(config.realms)]
    named += [
        (("upstream", index, "credentials", number), "secret", one.secret_file, one.secret_env,
         partial(hashes_of, credentials=one))
        for index, upstream in enumerate(config.upstreams) for number, one in enumerate(upstream.credentials)]
    for path, name, in_file, in_env, parse in named:
        if not (in_file or in_env):
            continue
        try:
            parse(read_secret(folder, in_file, in_env))
        except ValueError as error:
            yield Problem((*path, f"{name}_env" if in_env else f"{name}_file"), str(error))
