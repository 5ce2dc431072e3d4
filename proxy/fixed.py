"""What an edge is built with: a configuration that has it otherwise is for the next start."""
from proxy.config import Config

TABLES = {"listeners": "[[listener]]", "process": "[process]", "limits": "[limits]", "timers": "[timers]",
          "secrets": "[secrets]"}
KEYS = (("streams", "connections"), ("streams", "rate"), ("relay", "learn_seconds"), ("relay", "silence_seconds"),
        ("relay", "timeout_seconds"), ("relay", "sessions"), ("relay", "offload"), ("services", "queue"),
        ("services", "conversation_bytes"))
SERVICES = (("api", "bind"), ("api", "body_limit"), ("database", "url"))
"""What the services process is built with."""


def changed(before: Config, after: Config, *, services: bool) -> list[str]:
    """What of it is not the same in two configurations; services: the services process runs."""
    found = [shown for name, shown in TABLES.items() if getattr(before, name) != getattr(after, name)]
    found += [f"{table}.{name}" for table, name in (*KEYS, *(SERVICES if services else ()))
              if getattr(getattr(before, table), name) != getattr(getattr(after, table), name)]
    if after.media and not before.media:
        found.append("[[media]] where none was")
    return found
