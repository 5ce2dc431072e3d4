"""The configuration: one TOML file, decoded strictly into frozen Structs, or refused with file, line and path."""
from .access import DIALOG_METHODS, Group, Listener, Unlisted
from .action import Action, ActionHeader, Extractor, Whisper
from .auth import Algorithm, Credentials, Realm, Registration
from .config import Check, Config, decode, needs_services, tables
from .dns import Dns
from .errors import ConfigError, Path, Problem, dotted
from .health import Health, statuses
from .media import Learning, Media, Relay, Srtp
from .outside import Api, Database, HttpRequest, Model, Reference, Services, Speech, Webhook
from .process import Limits, Log, Process, Secrets, Timers
from .rules import Header, HeaderSet, Internal, Refer, Route
from .secrets import lines_of, read_secret, reference_keys, token_key
from .tls import Streams, Tls
from .upstream import Upstream, UpstreamTarget, UserToUser

__all__ = [
    "DIALOG_METHODS", "Action", "ActionHeader", "Algorithm", "Api", "Check", "Config", "ConfigError", "Credentials",
    "Database", "Dns", "Extractor", "Group", "Header", "HeaderSet", "Health", "HttpRequest", "Internal", "Learning",
    "Limits", "Listener", "Log", "Media", "Model", "Path", "Problem", "Process", "Realm", "Refer", "Reference",
    "Registration", "Relay", "Route", "Secrets", "Services", "Speech", "Srtp", "Streams", "Timers", "Tls", "Unlisted",
    "Upstream", "UpstreamTarget", "UserToUser", "Webhook", "Whisper", "decode", "dotted", "lines_of",
    "needs_services", "read_secret", "reference_keys", "statuses", "tables", "token_key",
]
