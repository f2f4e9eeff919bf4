"""Which price books the stored spans were priced by: one after the other is a change, two at once a mistake. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise

from spanloom_sinks.verify.facts import Contents
from spanloom_sinks.verify.model import Finding, State

Prices = Iterable[tuple[str, int, str, int, int, int]]


def finding(contents: Contents) -> Finding:
    """One price book, one after the other, or two at once; and how many calls have no price."""
    versions = sorted({version for _, _, version, *_ in contents.prices})
    mixed = _mixed(contents.prices)
    share = contents.unpriced / contents.calls if contents.calls else 0.0
    text = (
        f"{contents.calls:,} model calls, {contents.unpriced:,} without a price ({100 * share:.2g} %, their "
        "cost is unknown)"
    )
    if mixed:
        text = (
            f"two price books at once in partitions {', '.join(map(str, mixed))} ({', '.join(versions)}): "
            f"give every sink and processor the same; {text}"
        )
    elif len(versions) > 1:
        text = (
            f"the price book changed in that time ({' → '.join(_in_order(contents.prices))}), never two at once; {text}"
        )
    elif versions:
        text = f"one price book, {versions[0]}; {text}"
    panes, differ = sum(row[2] for row in contents.mispriced), sum(row[3] for row in contents.mispriced)
    if panes:
        text = f"{_apart(contents, panes, differ)}; {text}"
    changed = State.NOTE if panes or len(versions) > 1 or contents.unpriced else State.EXACT
    return Finding(
        "prices",
        State.WRONG if mixed or differ else changed,
        text,
        {
            "price_versions": versions,
            "price_mixtures": len(mixed),
            "mispriced_panes": panes,
            "calls": contents.calls,
            "unpriced": contents.unpriced,
        },
        query=(
            "SELECT price_version, partition, min(offset), max(offset), count() FROM spans GROUP BY "
            "price_version, partition"
        )
        if len(versions) > 1
        else "",
    )


def _apart(contents: Contents, panes: int, differ: int) -> str:
    """What is to be said of panes whose book is not that of their spans."""
    told, raw, *_ = contents.mispriced[0]
    said = f"{panes:,} panes are priced by another book than their spans (panes by {told}, spans by {raw})"
    if not differ:
        return f"{said}, at the same cost"
    return (
        f"{said}, {differ:,} of them at another cost: give every sink and processor the same, and date a change ahead"
    )


def _mixed(prices: Prices) -> list[int]:
    """Partitions in which the offsets of two price versions overlap: a change of books makes one follow the other."""
    places: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for (topic_id, partition, _), extent in _extents(prices).items():
        places[topic_id, partition].append(extent)
    return sorted(
        {
            partition
            for (_, partition), extents in places.items()
            if any(after[0] <= before[1] for before, after in pairwise(sorted(extents)))
        }
    )


def _in_order(prices: Prices) -> list[str]:
    firsts: dict[str, int] = {}
    for (_, _, version), (first, _) in _extents(prices).items():
        firsts[version] = min(first, firsts.get(version, first))
    return sorted(firsts, key=lambda version: firsts[version])


def _extents(prices: Prices) -> dict[tuple[str, int, str], tuple[int, int]]:
    extents: dict[tuple[str, int, str], tuple[int, int]] = {}
    for topic_id, partition, version, _, first, last in prices:
        at = topic_id, partition, version
        begin, end = extents.get(at, (first, last))
        extents[at] = min(begin, first), max(end, last)
    return extents
