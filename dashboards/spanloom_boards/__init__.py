"""Grafana's boards as code: `python -m spanloom_boards` writes the JSON that `dashboards/grafana/boards` holds.

Plain functions that return Grafana's own JSON (docs/adr/0086). For building only: no distribution carries this package.
"""
