"""The OTLP door: services that speak OpenTelemetry's protocol send their spans here (the extra `gateway`)."""
