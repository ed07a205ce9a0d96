-- The views of results.db: what a person queries. Every column is described in docs/results.md.
-- Made anew whenever a file is created or migrated; beside them stands results_<study>, one for each study (views.py).

-- One row a cell and seed of a study.
CREATE VIEW results AS
SELECT
    sr.study,
    r.run,
    r.family,
    r.params,
    r.params_non_embedding,
    r.params_total,
    r.tokens,
    r.tokens_trained,
    (SELECT SUM(u.unique_tokens) FROM source_usage u WHERE u.run = r.run) AS unique_tokens,
    (SELECT SUM(u.bytes) FROM source_usage u WHERE u.run = r.run) AS bytes_trained,
    (SELECT MAX(u.epochs) FROM source_usage u WHERE u.run = r.run) AS max_epochs,
    r.synthetic_ratio,
    r.seed,
    sr.factors,
    r.train_flops,
    CASE WHEN r.device_type = 'cuda' THEN r.train_seconds / 3600 END AS gpu_hours,
    r.train_seconds / 3600 AS device_hours,
    r.spent_seconds / 3600 AS spent_device_hours,
    r.score_seconds / 3600 AS score_hours,
    r.lost_seconds / 3600 AS lost_hours,
    sr.data_gpu_hours,
    r.predicted_seconds / 3600 AS predicted_device_hours,
    r.hours_basis,
    r.device,
    r.mfu,
    r.peak_memory_bytes,
    r.predicted_memory_bytes,
    r.ms_per_token,
    r.ms_to_first_token,
    r.ms_per_token_after_prompt,
    r.generate_tokens_per_s,
    r.generate_batch,
    r.inference_memory_bytes,
    r.inference_precision,
    r.inference_device,
    r.optimizer,
    r.final_loss,
    r.bits_per_byte,
    sr.mean_score,
    sr.mean_score_version,
    r.status,
    r.error,
    r.started,
    r.ended,
    sr.position
FROM study_runs sr
JOIN runs r ON r.run = sr.run
WHERE sr.active;

-- One row a run and benchmark, register and twin, of the benchmarks that the study asks.
CREATE VIEW scores AS
SELECT
    sr.study,
    b.run,
    b.benchmark,
    b.register,
    b.fresh,
    b."group",
    b.metric,
    b.score,
    b.stderr,
    b.chance,
    b.n,
    b.acc_norm,
    b.mean_logprob,
    b.bits_per_byte,
    b.truncated,
    b.shots,
    b.details,
    b.error,
    b.score_clean,
    b.n_clean,
    CASE WHEN b.score - 1.96 * b.stderr <= b.chance THEN 1 WHEN b.score - 1.96 * b.stderr > b.chance THEN 0 END AS at_chance,
    b.benchmark_digest,
    b.id AS score_id
FROM (SELECT DISTINCT study, run FROM study_runs WHERE active) sr
JOIN benchmark_scores b ON b.run = sr.run
WHERE NOT EXISTS (SELECT 1 FROM study_benchmarks d WHERE d.study = sr.study)
   OR EXISTS (SELECT 1 FROM study_benchmarks d WHERE d.study = sr.study AND d.benchmark_digest = b.benchmark_digest);

-- One row a baseline and benchmark, register and twin, whichever study asked for it.
CREATE VIEW baseline_results AS
SELECT
    m.baseline,
    m.name,
    m.revision,
    m.params_non_embedding,
    m.params_total,
    m.device,
    m.precision,
    m.ms_per_token,
    m.ms_to_first_token,
    m.ms_per_token_after_prompt,
    m.generate_tokens_per_s,
    m.generate_batch,
    m.inference_memory_bytes,
    m.inference_precision,
    m.inference_device,
    b.benchmark,
    b.register,
    b.fresh,
    b."group",
    b.metric,
    b.score,
    b.stderr,
    b.chance,
    b.n,
    b.acc_norm,
    b.mean_logprob,
    b.bits_per_byte,
    b.truncated,
    b.shots,
    b.details,
    b.error,
    CASE WHEN b.score - 1.96 * b.stderr <= b.chance THEN 1 WHEN b.score - 1.96 * b.stderr > b.chance THEN 0 END AS at_chance,
    b.benchmark_digest,
    b.id AS score_id
FROM baselines m
JOIN baseline_scores b ON b.baseline = m.baseline;

-- One row a run, benchmark, register, twin and overlap method: the score on all items and on those that no source of the run holds.
CREATE VIEW clean_scores AS
SELECT
    s.study,
    s.run,
    s.benchmark,
    s.register,
    s.fresh,
    m.method,
    s.score,
    s.n,
    AVG(CASE WHEN c.item IS NULL THEN 1.0 * a.correct END) AS score_clean,
    AVG(CASE WHEN c.item IS NOT NULL THEN 1.0 * a.correct END) AS score_contaminated,
    SUM(CASE WHEN c.item IS NULL THEN 1 ELSE 0 END) AS n_clean
FROM scores s
JOIN benchmark_scores b ON b.id = s.score_id
JOIN (SELECT u.run, o.benchmark_digest, o.method FROM source_usage u JOIN overlaps o ON o.shards = u.shards
      WHERE u.tokens > 0
      GROUP BY 1, 2, 3 HAVING COUNT(*) = (SELECT COUNT(*) FROM source_usage n WHERE n.run = u.run AND n.tokens > 0)) m
    ON m.run = s.run AND m.benchmark_digest = b.benchmark_digest
JOIN item_answers a ON a.score_id = s.score_id
LEFT JOIN (SELECT DISTINCT u.run, o.benchmark_digest, o.method, o.item FROM source_usage u JOIN item_overlaps o ON o.shards = u.shards
           WHERE u.tokens > 0 AND o.contaminated) c
    ON c.run = s.run AND c.benchmark_digest = b.benchmark_digest AND c.method = m.method AND c.item = a.item
WHERE s.metric IN ('acc', 'exact_match', 'pass@1')
GROUP BY s.study, s.run, s.benchmark, s.register, s.fresh, m.method, s.score, s.n;

-- One row a published figure that was found at its source: measured by others, never here.
CREATE VIEW published_scores AS
SELECT system, params, tokens, tokens_note, benchmark, metric, value, bound, unit, setting, source
FROM reference_scores
WHERE status = 'found';
