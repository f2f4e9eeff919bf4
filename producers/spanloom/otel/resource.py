"""What a resource says of its spans. Pure."""

from spanloom.fields import text
from spanloom.otel.received import Attributes
from spanloom.otel.withheld import is_content
from spanloom.trace import Resource

SERVICE = {
    "service": ("service.name", "openinference.project.name"),
    "environment": ("deployment.environment.name", "deployment.environment", "langfuse.environment"),
    "host": ("host.name", "k8s.pod.name"),
    "version": ("service.version", "langfuse.release"),
}
"""Of a resource: what a batch's header says."""
UNNAMED = "unknown_service"
"""What SDKs call a service that nobody named, perhaps with the process's name behind it."""
SDK = ("telemetry.sdk.name", "telemetry.sdk.language", "telemetry.sdk.version")


def resource(attributes: Attributes) -> tuple[Resource, dict[str, object]]:
    """Return what the headers of batches say (empty: not said), and the resource's other attributes.

    A service that nobody named (`unknown_service:python`) is not said.
    """
    said: dict[str, str] = {}
    used: set[str] = set()
    for field, names in SERVICE.items():
        found = [(name, value) for name in names if (value := text(attributes.get(name)))]
        named = [(name, value) for name, value in found if not (field == "service" and value.startswith(UNNAMED))]
        if named:
            said[field] = named[0][1]
        used |= {name for name, value in found if value in (found[0][1], said.get(field))}
    name, language, version = (text(attributes.get(key)) or "" for key in SDK)
    if name:
        said["sdk"] = f"{name}-{language}/{version}".replace("-/", "/").rstrip("/")
        used.update(SDK)
    rest = {key: value for key, value in attributes.items() if key not in used and not is_content(key)}
    return Resource(**said), rest
