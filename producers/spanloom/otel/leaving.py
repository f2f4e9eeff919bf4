"""How an attribute of another instrumentation leaves: as it is, as a keyed hash, or not at all. Pure.

Whoever writes the next SDK may record a prompt under a name that nobody has seen yet. So a name is not trusted because
no list forbids it: a text leaves as it is where its name is known to hold nothing that people or models wrote, or where
it is one short word, as ids, versions and enumerations are. Of any other a keyed hash leaves, under its name.
"""

import re
from collections.abc import Callable

from spanloom.buffer import Texts
from spanloom.fields import LONG, MANY, text
from spanloom.otel import dialects as table
from spanloom.otel.received import Attributes
from spanloom.otel.values import plain
from spanloom.otel.withheld import is_content

NAMESPACES = (
    *("aws.", "azure.", "cicd.", "client.", "cloud.", "cloudevents.", "code.", "container.", "cpu.", "db."),
    *("deployment.", "destination.", "device.", "dns.", "error.", "exception.", "faas.", "feature_flag.", "file."),
    *("gcp.", "geo.", "heroku.", "host.", "http.", "jvm.", "k8s.", "mcp.", "messaging.", "net.", "network."),
    *("nodejs.", "oci.", "openai.", "opentracing.", "os.", "otel.", "peer.", "process.", "rpc.", "server."),
    *("service.", "session.", "source.", "spanloom.", "system.", "telemetry.", "test.", "thread.", "tls.", "url."),
    *("user_agent.", "vcs.", "webengine."),
)
"""Of OpenTelemetry's registry, and our own: what machines say of themselves. What is held back in them stays so."""
NAMES = frozenset(
    {
        *("gen_ai.agent.id", "gen_ai.agent.name", "gen_ai.agent.version", "gen_ai.workflow.name", "gen_ai.tool.type"),
        *("gen_ai.data_source.id", "gen_ai.evaluation.score.label", "gen_ai.openai.api_base", "gen_ai.output.type"),
        *("agent.name", "graph.node.id", "graph.node.name", "graph.node.parent_id", "traceloop.workflow.name"),
        *("traceloop.entity.path", "traceloop.entity.version", "langfuse.trace.name", "langfuse.trace.tags"),
        *("langfuse.observation.cost_details", "langfuse.observation.usage_details", "tag.tags"),
        *("mlflow.spanType", "mlflow.chat.tokenUsage", "mlflow.llm.cost"),
        *(name for names in table.FIELDS.values() for name in names),
        *(name for names in table.USAGE.values() for name in names),
        *(name for name, _ in table.KINDS),
        *(name for names in table.SCORES for name in names),
        *(*table.FIRST_TOKEN, *table.FIRST_TOKEN_AT, *table.STORE_SYSTEMS, *table.STORE_OPERATIONS),
        *(*table.RESPONSE_IDS, *table.BLOCK_REASONS, *table.ERROR_CODES, *table.LEVELS),
    }
)
"""Names that the tables know, and more of the dialects' that hold names, tags and counts."""
OWN = "app."
"""What an application calls its own, unless its settings say otherwise."""
KNOWN = 8192
"""Names that are remembered."""
_ITEMS = 8
_PLAIN = frozenset({int, float, bool, type(None)})

_word = re.compile(r'"?[A-Za-z0-9_.:/+#-]{0,64}"?').fullmatch  # Langfuse puts texts in quotes


class Names(dict[str, bool | None]):
    """Attribute's name → True: it leaves as it is; False: not at all; None: `is_short` of its value decides.

    `own`: names, and beginnings of names that end in a dot, between commas: the application's own. What is held back by
    its name stays so.
    """

    def __init__(self, own: str = OWN) -> None:
        super().__init__()
        said = [name.strip() for name in own.split(",") if name.strip()]
        self._names = NAMES.union(said)
        self._beginnings = (*NAMESPACES, *(name for name in said if name.endswith(".")))

    def __missing__(self, name: str) -> bool | None:
        if len(self) >= KNOWN:
            self.clear()
        leaves = not is_content(name) and (name in self._names or name.startswith(self._beginnings) or None)
        self[name] = leaves
        return leaves


def is_short(value: object) -> bool:
    """Say whether a value is a number, true or false, one short word, or a few of these."""
    if isinstance(value, str):
        return _word(value) is not None
    if isinstance(value, list | tuple):
        return len(value) <= _ITEMS and all(not isinstance(one, list | tuple) and is_short(one) for one in value)
    return value is None or isinstance(value, int | float)


def kept(value: object, leaves: bool | None, pseudonym: Callable[[str], str]) -> tuple[object, bool]:
    """Return a value as it leaves (`leaves`: what is known of its name, not False), and whether that is a hash."""
    kind = type(value)
    if kind in _PLAIN or (isinstance(value, str) and (leaves or _word(value))):  # almost all
        return value, False
    if leaves or is_short(value):
        return plain(value), False
    return pseudonym(str(plain(value))), True


def texts(
    attributes: Attributes,
    names: Names,
    pseudonym: Callable[[str], str],
    only: tuple[tuple[str, ...], ...] | None = None,
) -> tuple[Texts, int]:
    """Return attributes of an event or link as texts, at most MANY, and how many are held back or hashed.

    `only`: the names of those that leave, and no others.
    """
    pairs: list[tuple[str | None, str | None]] = []
    held = 0
    for name, value in attributes.items():
        leaves = names[name] if only is None else any(name in some for some in only)
        if leaves is False:
            held += 1
        elif len(pairs) < MANY:
            said, is_hash = kept(value, leaves, pseudonym)
            held += is_hash
            pairs.append((text(name), text(said, LONG)))
    return tuple((key, said) for key, said in pairs if key is not None and said is not None), held
