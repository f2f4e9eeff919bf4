"""How many documents a span retrieved, and how many it says were cited: what context use is made of."""

import polars as pl


def retrieved() -> pl.Expr:
    """The documents of a span of kind retrieval: a rerank, or a step that resolves citations, names the same ones."""
    return pl.when(pl.col("kind").cast(pl.String) == "retrieval").then(pl.col("documents").list.len()).otherwise(0)


def cited() -> pl.Expr:
    """The documents that a span of any kind marks as cited."""
    return pl.col("documents").list.eval(pl.element().struct.field("cited")).list.sum()
