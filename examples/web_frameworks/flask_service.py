"""Asks the FastAPI service, several questions at once: `flask --app web_frameworks.flask_service run --port 8094`.

Spanloom's part: `configure`, `instrument` (`requests` and the thread pool carry the trace on), the middleware.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import requests
import spanloom
from flask import Flask, request
from spanloom.wsgi import TraceMiddleware


def create_app() -> Flask:
    spanloom.configure(service="flask-front")
    spanloom.instrument()
    app = Flask(__name__)
    app.wsgi_app = TraceMiddleware(app.wsgi_app)  # type: ignore[method-assign]
    answers = os.environ.get("ANSWERS_URL", "http://127.0.0.1:8093")

    def ask(tenant: str, question: str) -> str:
        with spanloom.span("ask", event_type="tool"):
            answer = requests.post(f"{answers}/answers/{tenant}", json={"question": question}, timeout=30)
            answer.raise_for_status()
            return answer.text

    @app.post("/<tenant>/questions")
    def questions(tenant: str) -> list[str]:
        asked = request.get_json()
        with ThreadPoolExecutor(4) as pool:
            return [*pool.map(lambda question: ask(tenant, question), asked)]

    return app
