-- produced = stored + dropped - recovered + missing, for each life (epoch) of each producer.
-- The names are those of its first message, the hello: a gateway sends for many services.
-- A message counts once however often it was sent. `recovered` are spans that the producer gave up for lost and that are stored after
-- all. `shed`: spans stored without their payloads or events, because room was short; they are among `stored`. Without a last message the tail is unknown, and so is what is missing: `unsettled` is in flight or lost.
CREATE OR REPLACE VIEW ledger AS
WITH
    messages AS
    (
        SELECT
            producer, epoch, sequence,
            any(service) AS service, any(environment) AS environment, any(host) AS host, min(sent) AS sent, max(made) AS made,
            maxMap(dropped) AS dropped, maxMap(shed) AS shed, any(given_up) AS given_up, max(last) AS last, any(spans) AS spans, uniqExact(partition, offset) AS copies
        FROM batches
        GROUP BY producer, epoch, sequence
    ),
    epochs AS
    (
        SELECT
            producer, epoch,
            argMin(service, sequence) AS service, argMin(environment, sequence) AS environment, argMin(host, sequence) AS host,
            min(sent) AS first_sent, max(sent) AS last_sent,
            max(made) AS produced, sum(spans) AS stored, maxMap(dropped) AS dropped, maxMap(shed) AS shed,
            groupUniqArrayArray(given_up) AS given_up, groupArray((sequence, spans)) AS sent_spans,
            max(sequence) + 1 AS sequences, count() AS messages, sum(copies) - count() AS duplicates, max(last) AS closed
        FROM messages
        GROUP BY producer, epoch
    )
SELECT
    producer, epoch, service, environment, host, first_sent, last_sent,
    produced, stored, dropped,
    arraySum(mapValues(dropped)) AS dropped_spans,
    arraySum(arrayMap(s -> s.2, arrayFilter(s -> has(given_up, s.1), sent_spans))) AS recovered,
    produced - stored - dropped_spans + recovered AS unsettled,
    if(closed, unsettled, NULL) AS missing,
    sequences - messages - length(arrayFilter(g -> NOT has(arrayMap(s -> s.1, sent_spans), g), given_up)) AS gaps,
    duplicates,
    if(closed, 'closed', 'unknown') AS tail,
    shed
FROM epochs;
