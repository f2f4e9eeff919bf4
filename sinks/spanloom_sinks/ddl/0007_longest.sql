-- As spanloom_schemas.frames.durations has it: at most eleven days, also where 64 bits do not hold the difference.
ALTER TABLE spans MODIFY COLUMN duration Int64 ALIAS multiIf(
    end <= start, 0,
    toUnixTimestamp64Nano(end) - toUnixTimestamp64Nano(start) < 0, 1000000000000000,
    least(1000000000000000, toUnixTimestamp64Nano(end) - toUnixTimestamp64Nano(start)));
