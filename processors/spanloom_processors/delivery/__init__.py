"""Alerts on their way to people: the default route and the three kinds of target it can have."""
