"""Many messages at once as polars frames; needs the extra `spanloom-schemas[frames]`."""
