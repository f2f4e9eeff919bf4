-- Minutes of each quantity of a machine or GPU: utilization as a share of 1, bytes, watts, °C; NULL where nothing answered.
CREATE OR REPLACE VIEW samples_1m AS
SELECT
    toStartOfMinute(t.start) AS window,
    t.environment AS environment, t.host AS host, t.gpu_id AS gpu_id, t.quantity AS quantity,
    any(t.gpu_model) AS gpu_model,
    sum(t.count) AS readings,
    sum(t.failed) AS failed,
    transform(t.quantity, ['cpu_utilization', 'gpu_utilization', 'gpu_power'], [1e6, 1e6, 1e3], 1.0) AS scale,
    if(readings = 0, NULL, sum(t.sum) / readings / scale) AS mean,
    min(t.lowest) / scale AS lowest,
    max(t.highest) / scale AS highest,
    sum(t.sum) / scale AS total
FROM samples AS t FINAL
GROUP BY window, environment, host, gpu_id, quantity;
