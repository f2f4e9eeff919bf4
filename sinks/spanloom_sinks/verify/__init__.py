"""`spanloom verify`: what the topics and tables say about one another, judged; nothing is changed by it.

`settled` says up to where a line has come to rest, `statements` asks the tables, `judging` makes findings of the
answers; both are pure. `topics` and `looking` do the reading, `run` puts all in order, `printing` shows it.
"""
