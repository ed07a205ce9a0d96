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
    CASE WHEN b.score - 1.96 * b.stderr <= b.chance THEN 1 ELSE 0 END AS at_chance,
    b.id AS score_id
FROM (SELECT DISTINCT study, run FROM study_runs WHERE active) sr
JOIN benchmark_scores b ON b.run = sr.run;
