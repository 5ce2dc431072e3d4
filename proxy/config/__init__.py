"""The configuration: one TOML file, decoded strictly into frozen Structs, or refused with file, line and path."""
from .access import DIALOG_METHODS, Group, Listener, Unlisted
from .config import Check, Config, decode, tables
from .errors import ConfigError, Path, Problem
from .media import Learning, Media, Relay
from .process import Limits, Log, Process, Secrets, Timers
from .rules import Header, HeaderSet, Internal, Refer, Route
from .secrets import token_key
from .upstream import LATER_STEPS, Upstream, UpstreamTarget, UserToUser

__all__ = [
    "DIALOG_METHODS", "LATER_STEPS", "Check", "Config", "ConfigError", "Group", "Header", "HeaderSet",
    "Internal", "Learning", "Limits", "Listener", "Log", "Media", "Path", "Problem", "Process", "Refer", "Relay",
    "Route", "Secrets", "Timers", "Unlisted", "Upstream", "UpstreamTarget", "UserToUser", "decode", "tables",
    "token_key",
]
