"""An application with our own spans around two SDKs, watched by `spanloom.instrument()`; prints what it published."""

import json
import sys

import spanloom
from provider import serving
from spanloom.testing import recording

MESSAGES = [{"role": "user", "content": "What is the answer?"}]


def main() -> None:
    """Call both SDKs below one span of ours."""
    with recording() as recorded, serving() as url:
        turned_on = spanloom.instrument()
        import anthropic
        import openai

        with spanloom.span("serve", event_type="request"):
            openai.OpenAI(base_url=f"{url}/v1", api_key="k").chat.completions.create(model="gpt-4o", messages=MESSAGES)  # type: ignore[call-overload]
            claude = anthropic.Anthropic(base_url=url, api_key="k")
            claude.messages.create(model="claude-sonnet-4-5", messages=MESSAGES, max_tokens=9)  # type: ignore[arg-type]
        json.dump({"turned_on": turned_on, "spans": recorded.spans}, sys.stdout)


if __name__ == "__main__":
    main()
