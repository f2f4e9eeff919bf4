"""An explanation in the terminal: what stands out, then the evidence, a section each."""

from collections.abc import Iterable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from spanloom_traces.explain import Explanation, Prompt
from spanloom_traces.model import Score, SpanDetail

from spanloom_viewer import wording
from spanloom_viewer.waterfall import COLOURS, head

_SHOWN_DOCUMENTS = 12
_SHOWN_TEXT = 600


def explanation(found: Explanation) -> RenderableType:
    """Sections with nothing in them are left out."""
    top = head(found.trace) if found.trace else Text(f"{found.trace_id}: not assembled yet", style="yellow")
    sections = (
        ("documents", _documents(found.documents)),
        ("prompt, tokens", _prompts(found.prompts)),
        ("model calls", _calls(found.calls)),
        ("tools", (_line(span, _outcome(span)) for span in found.tools)),
        ("failures", (_line(span, _outcome(span)) for span in found.failures)),
        ("blocks", (_line(span, f"⊘ {wording.clean(span.block_reason or '')}") for span in found.blocks)),
        ("scores", _scores(found.scores)),
        ("question and answer", _texts(found.calls)),
    )
    return Group(top, Text(), _findings(found), *(part for title, rows in sections for part in _section(title, rows)))


def _findings(found: Explanation) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for finding in found.findings:
        grid.add_row(Text("→", style="bold yellow"), Text(wording.clean(finding.text, 300), style="bold"))
    if not found.findings:
        grid.add_row("", Text("nothing stands out: judge by what follows", style="dim"))
    return grid


def _section(title: str, rows: Iterable[Sequence[Text]]) -> list[RenderableType]:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, overflow="ellipsis", max_width=44)
    grid.add_column(overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return [Text(f"\n{title}", style="dim"), grid] if grid.row_count else []


def _documents(spans: Sequence[SpanDetail]) -> Iterator[Sequence[Text]]:
    for span in spans:
        for position, document in enumerate(span.named[:_SHOWN_DOCUMENTS]):
            score = "" if document.score is None else f"{document.score:9.4g}"
            text = Text(f"{score:>9}  {wording.clean(document.id, 120)}")
            text.append("  cited" if document.cited else "", "green")
            yield (_name(span) if position == 0 else Text(), text)
        if (more := len(span.named) - _SHOWN_DOCUMENTS) > 0:
            yield Text(), Text(wording.several(more, "more document"), style="dim")


def _prompts(prompts: Sequence[Prompt]) -> Iterator[Sequence[Text]]:
    for prompt in prompts:
        counted = ", ".join(f"{name} {wording.count(tokens)}" for name, tokens in prompt.segments.items())
        text = Text(f"{counted}, together {wording.count(sum(prompt.segments.values()))}")
        text.append("  context truncated" if prompt.truncated else "", "yellow")
        yield _name(prompt.span), text


def _calls(spans: Sequence[SpanDetail]) -> Iterator[Sequence[Text]]:
    for span in spans:
        facts = {
            "model": span.model,
            "asked": span.request_model if span.request_model != span.model else None,
            "provider": span.provider,
            "prompt": span.prompt_id and f"{span.prompt_id} v{span.prompt_version or '?'}",
            "temperature": span.temperature,
            "top_p": span.top_p,
            "max_tokens": span.max_tokens,
            "tier": span.service_tier,
            "ended by": ", ".join(span.finish_reasons) or None,
            "tokens": f"{wording.count(span.input_tokens)}→{wording.count(span.output_tokens)}",
            "cost": None if span.cost_status in ("none", "") else wording.dollars(span.cost),
            "first token": None if span.ttft is None else wording.duration(span.ttft),
        }
        said = "  ".join(f"{name} {wording.clean(str(value))}" for name, value in facts.items() if value is not None)
        yield _name(span), Text(said)


def _scores(scores: Sequence[Score]) -> Iterator[Sequence[Text]]:
    for score in scores:
        yield Text(wording.clean(score.name, 60)), Text(f"{score.value:.4g}")


def _texts(spans: Sequence[SpanDetail]) -> Iterator[Sequence[Text]]:
    for span in spans:
        for arrow, text in (("←", span.input), ("→", span.output)):
            if text:
                yield _name(span), Text(f"{arrow} {wording.clean(text, _SHOWN_TEXT)}")


def _outcome(span: SpanDetail) -> str:
    tool = f"{wording.clean(span.tool_name, 60)}  " if span.tool_name else ""
    failed = f"  ✗ {wording.clean(span.error_type or 'error')}" if span.status == "error" else ""
    return f"{tool}{wording.duration(max(0, span.end - span.start))}{failed}"


def _line(span: SpanDetail, said: str) -> Sequence[Text]:
    return _name(span), Text(said, style="red" if span.status == "error" else "")


def _name(span: SpanDetail) -> Text:
    name = Text(wording.clean(span.name, 60))
    name.append(f" {wording.clean(span.kind, 20)}", style=COLOURS.get(span.kind, "white"))
    return name
