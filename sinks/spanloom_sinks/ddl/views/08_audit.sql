-- Where every fact about a model call comes from: the versions that made it, and its place in the log.
CREATE OR REPLACE VIEW audit AS
SELECT
    end AS time, trace_id, span_id, environment, service, version AS service_version, user, tenant,
    provider, request_model, response_model, model_version, prompt_id, prompt_version, price_version,
    input_hash, output_hash, 'llm.spans' AS topic, topic_id, partition, offset, position, log_time
FROM spans FINAL
WHERE model != '' OR prompt_id != '';
