"""Pure folds over a partition's log: panes, traces, safe points; alerts over panes. No Faust, no Kafka, no clock."""
