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

-- One row a run and benchmark, register and twin.
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
    b.score_clean,
    b.n_clean,
    CASE WHEN b.score - 1.96 * b.stderr <= b.chance THEN 1 ELSE 0 END AS at_chance,
    b.id AS score_id
FROM (SELECT DISTINCT study, run FROM study_runs WHERE active) sr
JOIN benchmark_scores b ON b.run = sr.run;

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
WHERE s.metric = 'acc'
GROUP BY s.study, s.run, s.benchmark, s.register, s.fresh, m.method, s.score, s.n;
