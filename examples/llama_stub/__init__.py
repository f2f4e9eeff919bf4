"""A local server that answers like OpenAI's chat completions API, with no model behind it. It bills what it streams."""
