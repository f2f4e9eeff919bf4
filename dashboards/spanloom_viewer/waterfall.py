"""A trace as a waterfall: the tree, a bar on the time axis for each span, and what it cost."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from spanloom_traces.model import Span, Trace
from spanloom_traces.tree import Node

from spanloom_viewer import wording
from spanloom_viewer.guides import guides

COLOURS = {
    "request": "bright_white",
    "queue": "bright_black",
    "preproc": "cyan",
    "prompt": "cyan",
    "retrieval": "blue",
    "rerank": "bright_blue",
    "llm": "magenta",
    "embedding": "bright_magenta",
    "tool": "yellow",
    "postproc": "cyan",
    "safety": "green",
    "feedback": "bright_black",
}
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_NAME_WIDTH = 44
_NOTE_WIDTH = 44
_LEAST_BARS = 24


def waterfall(trace: Trace | None, tree: Sequence[Node], width: int) -> RenderableType:
    """The trace, `width` columns wide. `trace` is None while it is not assembled: no critical path is known then.

    Its tree is empty when its spans have expired.
    """
    if trace and not tree:
        return Group(head(trace), Text("its spans have expired: only the trace as a whole is kept", style="yellow"))
    path = frozenset(step.span_id for step in trace.critical_path) if trace else frozenset[str]()
    return Group(_head(trace, tree), Text(), _table(tree, path, width), *_legend(path, tree))


def _table(rows: Sequence[Node], path: frozenset[str], width: int) -> Table:
    start, end = min(row.span.start for row in rows), max(row.span.end for row in rows)
    labels = [
        _label(row, guide, on_path=row.span.span_id in path) for row, guide in zip(rows, guides(rows), strict=True)
    ]
    facts = [(wording.duration(row.span.end - row.span.start), _tokens(row.span), _cost(row.span)) for row in rows]
    notes = [_notes(row) for row in rows]
    fact_widths = [max(map(len, column)) for column in zip(*facts, strict=True)]
    name_width = min(_NAME_WIDTH, max(map(len, labels)))
    note_width = min(_NOTE_WIDTH, max(map(len, notes)))
    room = width - sum(fact_widths) - 2 * 5
    bars = max(_LEAST_BARS, room - name_width - note_width)
    note_width = max(0, min(note_width, room - name_width - bars))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=min(name_width, room - bars), no_wrap=True, overflow="ellipsis")
    table.add_column(width=bars, no_wrap=True, overflow="crop")
    for fact_width in fact_widths:
        table.add_column(width=fact_width, justify="right", no_wrap=True)
    table.add_column(width=note_width, no_wrap=True, overflow="ellipsis")
    table.add_row("", Text(_axis(end - start, bars), style="dim"))
    for row, label, cells, note in zip(rows, labels, facts, notes, strict=True):
        table.add_row(label, bar(row.span, start, end, bars, on_path=row.span.span_id in path), *cells, note)
    return table


def bar(span: Span, start: int, end: int, width: int, *, on_path: bool) -> Text:
    """The span on a time axis from `start` to `end`: never empty, never past the axis."""
    total = max(1, end - start)
    first = min(8 * width - 1, max(0, (span.start - start) * 8 * width // total))
    last = min(8 * width, max(first + 1, (span.end - start) * 8 * width // total))
    begins = first // 8
    cells = "█" * (last // 8 - begins) + (_EIGHTHS[last % 8] if last % 8 else "")
    style = "red" if span.status == "error" else COLOURS.get(span.kind, "white")
    return Text(" " * begins + (cells or "▏"), style=style if on_path else f"{style} dim")


def _axis(total: int, width: int) -> str:
    right = wording.duration(total)
    return "0" + right.rjust(width - 1)


def _label(row: Node, guide: str, *, on_path: bool) -> Text:
    name = wording.clean(row.span.name, 80)
    label = Text("● " if on_path else "  ")
    label.append(guide, style="bright_black")
    label.append(name, style="bold" if on_path else "")
    if row.span.kind not in (name, "other"):
        label.append(f" {wording.clean(row.span.kind, 20)}", style=COLOURS.get(row.span.kind, "white"))
    return label


def _tokens(span: Span) -> str:
    if span.input_tokens is None and span.output_tokens is None:
        return ""
    return f"{wording.count(span.input_tokens)}→{wording.count(span.output_tokens)}"


def _cost(span: Span) -> str:
    return "" if span.cost_status in ("none", "") else wording.dollars(span.cost)


def _notes(row: Node) -> Text:
    span, notes = row.span, Text()
    if span.status == "error":
        notes.append(f"✗ {wording.clean(span.error_type or 'error', 60)} ", style="bold red")
    if span.block_reason:
        notes.append(f"⊘ {wording.clean(span.block_reason, 60)} ", style="bold yellow")
    if row.orphan:
        notes.append("parent missing ", style="yellow")
    if row.cycle:
        notes.append("parents form a cycle ", style="yellow")
    if span.model:
        notes.append(f"{wording.clean(span.model, 40)} ", style="dim")
    if span.ttft is not None:
        notes.append(f"first token {wording.duration(span.ttft)} ", style="dim")
    if span.cached:
        notes.append("cached ", style="dim")
    if span.documents:
        cited = f", {span.cited} cited" if span.cited else ""
        notes.append(f"{wording.several(span.documents, 'document')}{cited} ", style="dim")
    return notes


def _head(trace: Trace | None, tree: Sequence[Node]) -> Text:
    if trace is not None:
        return head(trace)
    first = min((node.span for node in tree), key=lambda span: span.start)
    return Text.assemble(
        (wording.clean(first.name), "bold"),
        f"  {wording.clean(first.service)}  {wording.moment(first.start)}\n",
        (f"{wording.several(len(tree), 'span')} so far: this trace is not assembled yet", "yellow"),
    )


def head(trace: Trace) -> Text:
    """What the trace as a whole was: two lines of facts and its id between them."""
    state = trace.state if not trace.reason else f"{trace.state} ({wording.clean(trace.reason)})"
    facts = [
        wording.several(trace.spans, "span"),
        f"{wording.count(trace.input_tokens)}→{wording.count(trace.output_tokens)} tokens",
        f"cost {wording.dollars(trace.cost, trace.unpriced)}"
        + (f" ({wording.several(trace.unpriced, 'span')} unpriced)" if trace.unpriced else ""),
        *([f"first token {wording.duration(trace.ttft)}"] if trace.ttft is not None else []),
        *(f"{name} {wording.clean(value, 60)}" for name, value in _who(trace) if value),
    ]
    return Text.assemble(
        (wording.clean(trace.name), "bold"),
        f"  {wording.clean(trace.service)}  {wording.moment(trace.start)}  ",
        (wording.duration(trace.duration), "bold"),
        "  ",
        (state, "" if trace.state == "complete" else "yellow"),
        *([("  error", "bold red")] if trace.status == "error" else []),
        *([(f"  blocked: {wording.clean(trace.block_reason)}", "bold yellow")] if trace.block_reason else []),
        f"\n{wording.clean(trace.trace_id)}\n",
        (" · ".join(facts), "dim"),
    )


def _who(trace: Trace) -> tuple[tuple[str, str | None], ...]:
    prompt = trace.prompt_id and f"{trace.prompt_id} v{trace.prompt_version or '?'}"
    return ("prompt", prompt), ("tenant", trace.tenant), ("user", trace.user), ("session", trace.session_id)


def _legend(path: frozenset[str], rows: Sequence[Node]) -> list[Text]:
    on_path = sum(row.span.span_id in path for row in rows)
    if not on_path:
        return []
    of = f"{on_path} of {wording.several(len(rows), 'span')} {'decides' if on_path == 1 else 'decide'}"
    return [Text(f"● the critical path: {of} how long it took", style="dim")]
