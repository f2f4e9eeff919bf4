"""Reads what Spanloom stored, in code: `TraceStore` answers with objects, or with polars frames.

from spanloom_traces import TraceStore

with TraceStore() as store:
    for trace in store.slow(over=timedelta(seconds=2)):
        print(store.explain(trace.trace_id).findings)
"""

from spanloom_traces.connection import NotThere, StoreError
from spanloom_traces.grammar import FilterError
from spanloom_traces.store import TraceStore, WovenTrace
from spanloom_traces.trace_filter import TraceFilter

__all__ = ["FilterError", "NotThere", "StoreError", "TraceFilter", "TraceStore", "WovenTrace"]
