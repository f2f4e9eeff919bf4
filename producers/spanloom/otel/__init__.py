"""OpenTelemetry's spans as ours."""
