-- How far in its source a pane reaches: a minute is summed up when `spans` has come as far. 0: unknown, it was told earlier.
ALTER TABLE panes ADD COLUMN IF NOT EXISTS next_offset Int64 COMMENT 'of the source partition: the pane counts what is before'
    CODEC(Delta, ZSTD(1)) AFTER late_offset;
