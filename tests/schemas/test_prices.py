from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices import Usage, calc_price
from genai_prices.data import providers
from spanloom_schemas.prices.book import Book, Rate
from spanloom_schemas.prices.generate import book as generated
from spanloom_schemas.prices.own import PricesError

DAYS = [
    datetime(2024, 6, 1, 3, 7, tzinfo=UTC),
    datetime(2026, 10, 20, 2, 30, tzinfo=UTC),
    datetime(2026, 11, 23, 20, tzinfo=UTC),
]
TOKENS = [
    (0, 0, 0, 0, 0),
    (1000, 0, 0, 200, 0),
    (700, 3000, 90, 50, 7),
    (150_000, 100_000, 60_000, 3000, 2000),
    (1, 1, 1, 1, 1),
]
CONTEXT = {
    None: None,
    "batch": {"processing": "batch", "service_tier": "batch"},
    "priority": {"service_tier": "priority"},
    "flex": {"service_tier": "flex"},
    "fast": {"service_tier": "fast", "speed": "fast"},
}


@pytest.fixture(scope="module")
def book() -> Book:
    return Book.load()


def rate(book: Book, provider: str | None, model: str, tier: str | None = None, at: datetime = DAYS[-1]) -> Rate:
    found = book.rate(provider, model, tier, int(at.timestamp()))
    assert found is not None
    return found


def test_the_book_is_what_the_installed_genai_prices_say() -> None:
    """If this fails after an update: `python -m spanloom_schemas.prices.generate`, and look at the difference."""
    import spanloom_schemas.prices

    assert (Path(spanloom_schemas.prices.__file__).parent / "book.json").read_text("utf-8") == generated()


def test_costs_are_those_of_genai_prices_own_calculator(book: Book) -> None:
    """Every third model of every provider, by name, at three times; every tier at the last."""
    compared = 0
    for provider in providers:
        for model in provider.models[::3]:
            for number, day in enumerate(DAYS):
                for tier in CONTEXT if number == len(DAYS) - 1 and model.price_variants else [None]:
                    compared += check(book, provider.id, model.id, tier, day, TOKENS[(compared + number) % len(TOKENS)])
    assert compared > 1500


def check(book: Book, provider: str, model: str, tier: str | None, day: datetime, tokens: tuple[int, ...]) -> int:
    inputs, reads, writes, output, reasoning = tokens
    usage = Usage(
        input_tokens=inputs + reads + writes,
        cache_read_tokens=reads,
        cache_write_tokens=writes,
        output_tokens=output + reasoning,
        output_reasoning_tokens=reasoning,
        output_image_tokens=0,
        output_audio_tokens=0,
        output_video_tokens=0,
        input_audio_tokens=0,
        input_image_tokens=0,
        input_video_tokens=0,
        cache_audio_read_tokens=0,
        cache_image_read_tokens=0,
        cache_write_1h_tokens=0,
        output_citation_tokens=0,
    )
    try:
        said = calc_price(usage, model, provider_id=provider, genai_request_timestamp=day, price_context=CONTEXT[tier])
    except LookupError:
        return 0
    found = book.rate(provider, model, tier, int(day.timestamp()))
    if found is None:  # no price of tokens: audio hours, pages
        assert said.model_price.input_mtok is None
        assert said.model_price.output_mtok is None
        return 0
    difference = Decimal(found.cost(*tokens)) / 10**9 - said.total_price
    assert abs(difference) <= Decimal(1) / 10**9, (provider, model, tier, day, tokens, found, said)
    return 1


def test_golden_a_plain_call(book: Book) -> None:
    """gpt-4o: $2.50 in, $10 out per million."""
    assert rate(book, "openai", "gpt-4o").cost(1000, 0, 0, 200, 0) == 4_500_000


def test_golden_cache_read_and_write(book: Book) -> None:
    """claude-sonnet-4-5: $3 in, $0.30 read, $3.75 write, $15 out: 100 x 3 + 1000 x 0.3 + 200 x 3.75 + 50 x 15."""
    assert rate(book, "anthropic", "claude-sonnet-4-5").cost(100, 1000, 200, 50, 0) == 2_100_000


def test_golden_reasoning_is_output_where_it_has_no_rate_of_its_own(book: Book) -> None:
    found = rate(book, "openai", "o3")
    assert found.cost(0, 0, 0, 0, 100) == found.cost(0, 0, 0, 100, 0) > 0
    own = rate(book, "perplexity", "sonar-deep-research")
    assert own.brackets[0].reasoning != own.brackets[0].output


def test_golden_above_200k_all_tokens_cost_the_higher_rate(book: Book) -> None:
    """gemini-2.5-pro: $1.25 in, $10 out up to 200k tokens of input, cached ones included; above, $2.50 and $15."""
    found = rate(book, "gcp.gemini", "gemini-2.5-pro")
    assert found.cost(200_000, 0, 0, 10, 0) == 250_000_000 + 100_000
    assert found.cost(200_001, 0, 0, 10, 0) == 500_002_500 + 150_000
    assert found.cost(1, 200_000, 0, 10, 0) == 2_500 + 50_000_000 + 150_000


def test_golden_a_price_counts_from_its_day_and_hour() -> None:
    book = Book.load()
    found = [
        book.rate("deepseek", "deepseek-chat", None, int(datetime(2025, 3, 1, h, m, tzinfo=UTC).timestamp()))
        for h, m in [(0, 15), (0, 30), (16, 15), (16, 30)]
    ]
    assert found[0] == found[3] != found[1] == found[2]


def test_a_cost_is_rounded_half_up_once(book: Book) -> None:
    found = Rate((rate(book, "openai", "gpt-4o").brackets[0]._replace(input=500_000, output=499_999),), 0)
    assert [found.cost(1, 0, 0, 0, 0), found.cost(0, 0, 0, 1, 0), found.cost(1, 0, 0, 1, 0)] == [1, 0, 1]


@pytest.mark.parametrize(
    ("name", "same"),
    [("x_ai", "x-ai"), ("gcp.gen_ai", "google"), ("gcp.vertex_ai", "google"), ("aws.bedrock", "aws"),
     ("mistral_ai", "mistral"), ("moonshot_ai", "moonshotai"), ("azure.ai.openai", "azure"),
     ("AZURE.AI.INFERENCE", "azure")],
)  # fmt: skip
def test_opentelemetrys_provider_names_are_found(book: Book, name: str, same: str) -> None:
    models = {"x-ai": "grok-4", "google": "gemini-2.5-flash", "aws": "amazon.nova-pro-v1:0",
              "mistral": "mistral-large-latest", "moonshotai": "kimi-k2-0905-preview", "azure": "gpt-4o"}  # fmt: skip
    assert rate(book, name, models[same]) == rate(book, same, models[same])


def test_a_model_without_a_provider_is_found_by_its_name_and_an_unknown_one_is_not(book: Book) -> None:
    assert rate(book, None, "claude-sonnet-4-5-20250929") == rate(book, "anthropic", "claude-sonnet-4-5")
    assert rate(book, "litellm", "anthropic/claude-sonnet-4-5") == rate(book, "anthropic", "claude-sonnet-4-5")
    assert [book.rate(p, "made-up-1", None, 0) for p in (None, "openai", "ollama", "")] == [None] * 4


PRICES = """
prices:
  - {provider: ollama, model: "llama3*", input: 0, output: 0}
  - model: acme-large
    from: 2026-07-01
    input: 0.50
    cache_read: 0.05
    output: 1.50
    request: 0.001
    above: {200000: {input: 1.0}}
  - {model: acme-large, input: 0.1, output: 0.2}
  - {model: acme-large, tier: batch, from: 2026-08-01, input: 0.25, output: 0.75}
  - {provider: openai, model: gpt-4o, input: 1, output: 1}
"""


def test_peoples_own_prices_come_before_the_books(tmp_path: Path, book: Book) -> None:
    (tmp_path / "prices.yaml").write_text(PRICES)
    own = Book.load(tmp_path / "prices.yaml")
    assert own.version != book.version
    assert rate(own, "ollama", "Llama3.3:70b").cost(10**6, 0, 0, 10**6, 0) == 0
    assert own.rate("other", "llama3", None, 0) is None
    assert rate(own, "openai", "gpt-4o").cost(10, 0, 0, 0, 0) == 10_000
    assert rate(own, "azure", "gpt-4o") == rate(book, "azure", "gpt-4o")
    large = rate(own, None, "acme-large")
    assert large.cost(100, 100, 100, 100, 100) == 50_000 + 5_000 + 50_000 + 150_000 * 2 + 1_000_000
    assert large.cost(200_001, 0, 0, 0, 0) == 200_001_000 + 1_000_000
    assert rate(own, None, "acme-large", at=DAYS[0]).cost(100, 0, 0, 0, 0) == 10_000
    assert rate(own, None, "acme-large", "batch").cost(100, 0, 0, 0, 0) == 25_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prices: [{model: a, input: cheap, output: 1}]", r"entry 1 \(a\): Expected `decimal`|entry 1 \(a\): "),
        ("prices: [{model: a, input: 1}, {model: b, colour: 1}]", r"entry 2 \(b\): .*unknown field `colour`"),
        ("prices: [{input: 1}]", r"entry 1: .*`model`"),
        ("prices: [{model: a}]", r"entry 1 \(a\): neither input nor output has a price"),
        ("prices: [{model: a, input: -1}]", r"entry 1 \(a\): a price is negative or finer than a nano-dollar"),
        ("prices: [{model: a, input: .nan}]", r"entry 1 \(a\): "),
        ("prices: [7]", "entry 1: "),
        ("prices: {}", "must hold one list, `prices`"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_file_of_prices_that_cannot_be_used_is_one_line_that_names_the_entry(
    tmp_path: Path, text: str, said: str
) -> None:
    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(PricesError, match=said) as raised:
        Book.load(tmp_path / "p.yaml")
    assert str(tmp_path / "p.yaml") in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_file_of_prices_that_is_not_there_is_one_line() -> None:
    with pytest.raises(PricesError, match="the prices file /no/such cannot be read: No such file or directory"):
        Book.load("/no/such")
