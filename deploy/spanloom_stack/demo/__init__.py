"""`spanloom demo`: the whole line in real time around an example service, and a proof of every number it shows."""
