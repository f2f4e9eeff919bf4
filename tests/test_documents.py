"""What the documents tell a person to type, run or write: it runs, it exists, it is accepted."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from spanloom.cli import spanloom
from spanloom_processors.core.alerts.rules import parse
from spanloom_schemas.prices.own import read_own
from spanloom_schemas.settings import ClickHouseSettings
from spanloom_sinks import migrate
from spanloom_traces import TraceStore

ROOT = Path(__file__).parents[1]
DOCUMENTS = {path.name: path.read_text("utf-8") for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", DOCUMENTS[document], re.DOTALL)


def typed(word: str) -> Iterator[str]:
    """Every line of the documents that begins with a program: of blocks, and between backticks."""
    for text in DOCUMENTS.values():
        yield from re.findall(rf"(?:^ *|`)({word} [^`\n]+)", text, re.MULTILINE)


def test_the_readmes_python_runs_as_it_stands() -> None:
    (code,) = blocks("README.md", "python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("line", sorted({*typed("spanloom")}))
def test_every_subcommand_that_is_named_exists_with_its_options(line: str) -> None:
    _, *words = shlex.split(re.sub(r"\[\w+\]", "", line), comments=True)
    command: click.Command = spanloom
    context = click.Context(command)
    while words and isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, words)  # type: ignore[assignment]
        context = click.Context(command, parent=context, info_name=name)
    if not isinstance(command, click.Group):
        command.make_context(command.name, list(words))  # raises for an option or an argument that it does not take


def test_every_target_and_every_program_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {shlex.split(line, comments=True)[1] for line in typed("make")}
    assert named
    assert named <= targets
    for line in typed("python"):
        _, first, *rest = line.split()
        program = f"{rest[0].replace('.', '/')}.py" if first == "-m" else first
        assert (ROOT / program).exists(), line


def test_every_file_that_is_linked_or_named_is_there() -> None:
    for name, text in DOCUMENTS.items():
        folder = ROOT if name == "README.md" else ROOT / "docs"
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (folder / link).exists(), f"{name}: {link}"
        for path in re.findall(r"`((?:docs|deploy|tests|benchmarks|examples)/[\w./-]*)`", text):
            assert (ROOT / path).exists(), f"{name}: {path}"


def test_the_rules_of_the_document_are_accepted(tmp_path: Path) -> None:
    (text,) = blocks("alerts.md", "yaml")
    file = tmp_path / "rules.yaml"
    file.write_text(text)
    done = CliRunner().invoke(spanloom, ["rules", "check", str(file)])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("RetrievalSlow")


def test_the_prices_of_the_document_are_accepted(tmp_path: Path) -> None:
    (text,) = blocks("operations.md", "yaml")
    (tmp_path / "prices.yaml").write_text(text)
    assert [own.model for own in read_own(tmp_path / "prices.yaml")[1]] == ["llama3*", "acme-large"]


@pytest.mark.parametrize(
    "condition", ["above: 300ms", "below: 2%", "above: $1000", "absent: true", "band: {p_value: 1e-4}"]
)
def test_the_conditions_that_the_document_names_are_accepted(condition: str) -> None:
    metrics = {"below: 2%": "error_rate", "above: $1000": "cost", "absent: true": "requests"}
    metric = metrics.get(condition, "block_rate" if condition.startswith("band") else "request_p95")
    assert parse(f"rules: [{{name: Example, metric: {metric}, {condition}, severity: info, summary: s}}]")


def test_the_queries_of_the_documents_can_be_asked(clickhouse: str) -> None:
    database = ClickHouseSettings(clickhouse_url=clickhouse, clickhouse_database="documents")
    migrate.apply(database)
    queries = [shlex.split(line)[2] for line in typed("spanloom sql") if "SELECT" in line and "…" not in line]
    assert len(queries) >= 2
    with TraceStore(database) as store:
        for query in queries:
            assert store.answer(query).columns
