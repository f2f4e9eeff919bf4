-- By which price book a pane is priced: that of its spans is a column of `spans`. Empty: it was told earlier.
ALTER TABLE panes ADD COLUMN IF NOT EXISTS price_version LowCardinality(String) AFTER revision;
