"""What a model call costs: rates by provider, model, tier and time.

The data in `book.json` are generated from genai-prices (MIT licence, see NOTICE); people add their own in a file.
"""
