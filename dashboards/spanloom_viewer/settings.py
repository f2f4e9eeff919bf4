"""What the viewer is told by its environment."""

from spanloom_schemas.settings import ClickHouseSettings


class ViewerSettings(ClickHouseSettings, frozen=True, kw_only=True):
    """Where to read: the same variables as the sink's."""
