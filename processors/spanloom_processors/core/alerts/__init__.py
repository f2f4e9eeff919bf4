"""Alert rules as pure folds: what to watch, sums over panes, baselines, budgets, transitions."""
