"""The services of `rag_service` once more, as an application that knows OpenTelemetry and nothing of Spanloom."""
