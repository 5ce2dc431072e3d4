"""The access list of a configuration, as the stack looks it up."""
from proxy.config import Config
from proxy.policy.acl import prefixes
from sipcore.base.trie import Trie
from sipcore.stack.admission import Admission


def admission(config: Config) -> Admission:
    """Tries by listener and groups by number, both in the order of the file."""
    unlisted = config.unlisted
    built = Admission(
        [Trie([(str(prefix.network), prefix.group) for prefix in prefixes(config, index)])
         for index in range(len(config.listeners))],
        unlisted="forbid" if unlisted.answer == "forbid" else "deny",
        unlisted_rate=unlisted.rate, unlisted_burst=unlisted.burst or 2 * unlisted.rate,
        unlisted_dialog_methods=unlisted.dialog_methods, answer_rate=unlisted.answers,
        # The table of sources has a power of two entries.
        sources=1 << (config.limits.sources - 1).bit_length())
    for group in config.groups:
        built.add_group(group.action, group.methods, dialog_methods=group.dialog_methods, rate=group.rate,
                        burst=group.burst, group_rate=group.group_rate, group_burst=group.group_burst,
                        trusted=group.trusted)
    return built
