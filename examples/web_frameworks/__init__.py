"""A FastAPI service that streams a model's answer, and a Flask one in front of it: each is watched by three lines."""
