"""Loading the configuration: the file, its types, everything that must hold between its tables, its secrets."""
from pathlib import Path

from proxy.config import Config, ConfigError, Problem, decode, token_key
from proxy.machine import closed_folders, strangers
from proxy.policy.validate import problems_of


def load(file: Path, *, listen: str = "", epoch: int = 0, here: bool = False) -> Config:
    """Read and check a file; listen (`udp:127.0.0.1:5060`) takes the place of its listeners.

    here: it is to run on this machine, so the media addresses and folders are tried as well.
    The secrets that it names are read too, to see that they are there. Raises ConfigError with every problem
    found; nothing else has happened then.
    """
    try:
        text = file.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(str(file), [Problem((), f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(file), [Problem((), f"is not UTF-8 at byte {error.start}")]) from None

    def check(config: Config) -> list[Problem]:
        problems = problems_of(config)
        if here and not problems:
            problems = [*strangers(config), *closed_folders(config)]
        try:
            token_key(config.secrets, file.parent)
        except ValueError as error:
            name = "token_key_env" if config.secrets.token_key_env else "token_key_file"
            problems.append(Problem(("secrets", name), str(error)))
        return problems

    return decode(text, check, file=str(file), listen=listen, epoch=epoch)
