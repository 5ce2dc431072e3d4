"""The demo: a caller, an agent and a PBX stand-in, built on the user agent core, play a call through a running edge."""
from .play import run_demo

__all__ = ["run_demo"]
