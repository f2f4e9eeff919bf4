-- What spans went without because room was short at their producer. Of messages of the first schema nothing is known, and the map is empty.
ALTER TABLE batches
    ADD COLUMN IF NOT EXISTS shed_items Array(Tuple(part String, spans Int64)) EPHEMERAL,
    ADD COLUMN IF NOT EXISTS shed Map(LowCardinality(String), Int64) DEFAULT CAST(shed_items, 'Map(LowCardinality(String), Int64)')
        COMMENT 'spans stored without a part of theirs so far in the epoch, by part: payloads, events' CODEC(ZSTD(1)) AFTER dropped;
