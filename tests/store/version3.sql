BEGIN TRANSACTION;
CREATE TABLE ablate_migrations (
	number INTEGER NOT NULL, 
	name VARCHAR(80) NOT NULL, 
	applied VARCHAR(32) NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "ablate_migrations" VALUES(1,'m001_initial','2026-11-23T00:16:07+00:00');
INSERT INTO "ablate_migrations" VALUES(2,'m002_predictions_and_attempts','2026-11-23T00:16:07+00:00');
INSERT INTO "ablate_migrations" VALUES(3,'m003_overlap_and_data_cost','2026-11-23T00:16:07+00:00');
CREATE TABLE attempts (
	id INTEGER NOT NULL, 
	run VARCHAR(16) NOT NULL, 
	job VARCHAR(80), 
	status VARCHAR(16) NOT NULL, 
	error TEXT, 
	launcher VARCHAR(40), 
	host VARCHAR(255), 
	pid INTEGER, 
	device VARCHAR(120), 
	device_type VARCHAR(16), 
	threads INTEGER, 
	compile BOOLEAN, 
	versions JSON, 
	started VARCHAR(32), 
	ended VARCHAR(32), 
	optimizer_backend VARCHAR(40), 
	optimizer_version VARCHAR(80), 
	micro_batch INTEGER, 
	oom_halvings INTEGER, 
	pack INTEGER, 
	devices INTEGER, 
	activation_checkpointing BOOLEAN, 
	PRIMARY KEY (id), 
	FOREIGN KEY(run) REFERENCES runs (run)
);
INSERT INTO "attempts" VALUES(1,'047cebc2ed49722d','job1','done',NULL,'local','here',1,'a CPU','cpu',1,0,'{"torch": "2"}','1970-01-01T00:00:00+00:00','1970-01-01T00:01:00+00:00',NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE benchmark_scores (
	id INTEGER NOT NULL, 
	run VARCHAR(16) NOT NULL, 
	benchmark VARCHAR(60) NOT NULL, 
	register VARCHAR(16) NOT NULL, 
	fresh BOOLEAN NOT NULL, 
	"group" VARCHAR(60) NOT NULL, 
	metric VARCHAR(16) NOT NULL, 
	score FLOAT NOT NULL, 
	stderr FLOAT NOT NULL, 
	acc_norm FLOAT, 
	chance FLOAT NOT NULL, 
	n INTEGER NOT NULL, 
	mean_logprob FLOAT, 
	score_clean FLOAT, 
	digest VARCHAR(64) NOT NULL, 
	benchmark_digest VARCHAR(16), 
	n_clean INTEGER, 
	PRIMARY KEY (id), 
	UNIQUE (run, benchmark, register, fresh), 
	FOREIGN KEY(run) REFERENCES runs (run)
);
INSERT INTO "benchmark_scores" VALUES(1,'047cebc2ed49722d','sums','textbook',0,'arithmetic','acc',0.5,0.1,0.4,0.25,4,-1.5,3.33333333333333314829e-01,'d1','b1',3);
INSERT INTO "benchmark_scores" VALUES(2,'047cebc2ed49722d','sums','textbook',1,'arithmetic','acc',0.5,0.1,0.4,0.25,4,-1.5,NULL,'d2','b2',NULL);
INSERT INTO "benchmark_scores" VALUES(3,'047cebc2ed49722d','kinds','textbook',0,'arithmetic','acc',0.3,0.1,0.4,0.25,4,-1.5,NULL,'d3','b3',NULL);
CREATE TABLE curves (
	run VARCHAR(16) NOT NULL, 
	step INTEGER NOT NULL, 
	tokens BIGINT, 
	loss FLOAT, 
	lr FLOAT, 
	grad_norm FLOAT, 
	tokens_per_s FLOAT, 
	seconds FLOAT, 
	PRIMARY KEY (run, step), 
	FOREIGN KEY(run) REFERENCES runs (run)
)
 WITHOUT ROWID

;
INSERT INTO "curves" VALUES('047cebc2ed49722d',1,512,6.66666666666666696272e+00,0.1,1.0,9.0,0.1);
INSERT INTO "curves" VALUES('047cebc2ed49722d',2,1024,6.33333333333333303727e+00,0.1,1.0,9.0,0.2);
INSERT INTO "curves" VALUES('047cebc2ed49722d',3,1536,6.0,0.1,1.0,9.0,3.00000000000000044408e-01);
CREATE TABLE item_answers (
	score_id INTEGER NOT NULL, 
	item INTEGER NOT NULL, 
	template TEXT NOT NULL, 
	correct INTEGER NOT NULL, 
	correct_norm INTEGER NOT NULL, 
	choice INTEGER NOT NULL, 
	logprob FLOAT NOT NULL, 
	PRIMARY KEY (score_id, item), 
	FOREIGN KEY(score_id) REFERENCES benchmark_scores (id)
)
 WITHOUT ROWID

;
INSERT INTO "item_answers" VALUES(1,0,'t0',0,0,0,0.0);
INSERT INTO "item_answers" VALUES(1,1,'t1',1,0,1,-0.5);
INSERT INTO "item_answers" VALUES(1,2,'t0',0,0,2,-1.0);
INSERT INTO "item_answers" VALUES(1,3,'t1',1,0,3,-1.5);
INSERT INTO "item_answers" VALUES(2,0,'t0',0,0,0,0.0);
INSERT INTO "item_answers" VALUES(2,1,'t1',1,0,1,-0.5);
INSERT INTO "item_answers" VALUES(2,2,'t0',0,0,2,-1.0);
INSERT INTO "item_answers" VALUES(2,3,'t1',1,0,3,-1.5);
INSERT INTO "item_answers" VALUES(3,0,'t0',0,0,0,0.0);
INSERT INTO "item_answers" VALUES(3,1,'t1',1,0,1,-0.5);
INSERT INTO "item_answers" VALUES(3,2,'t0',0,0,2,-1.0);
INSERT INTO "item_answers" VALUES(3,3,'t1',1,0,3,-1.5);
CREATE TABLE item_overlaps (
	shards VARCHAR(16) NOT NULL, 
	benchmark_digest VARCHAR(16) NOT NULL, 
	method VARCHAR(16) NOT NULL, 
	item INTEGER NOT NULL, 
	value FLOAT NOT NULL, 
	contaminated BOOLEAN NOT NULL, 
	PRIMARY KEY (shards, benchmark_digest, method, item)
)
 WITHOUT ROWID

;
INSERT INTO "item_overlaps" VALUES('s1','b1','gpt3',1,1.0,1);
INSERT INTO "item_overlaps" VALUES('s2','b1','gpt3',1,1.0,1);
CREATE TABLE overlaps (
	shards VARCHAR(16) NOT NULL, 
	benchmark_digest VARCHAR(16) NOT NULL, 
	method VARCHAR(16) NOT NULL, 
	benchmark VARCHAR(60) NOT NULL, 
	register VARCHAR(16) NOT NULL, 
	fresh BOOLEAN NOT NULL, 
	items INTEGER NOT NULL, 
	contaminated INTEGER NOT NULL, 
	untold INTEGER NOT NULL, 
	content VARCHAR(64) NOT NULL, 
	PRIMARY KEY (shards, benchmark_digest, method)
);
INSERT INTO "overlaps" VALUES('s1','b1','gpt3','sums','textbook',0,4,1,0,'c');
INSERT INTO "overlaps" VALUES('s2','b1','gpt3','sums','textbook',0,4,1,0,'c');
CREATE TABLE runs (
	run VARCHAR(16) NOT NULL, 
	family VARCHAR(16) NOT NULL, 
	seed INTEGER NOT NULL, 
	params BIGINT NOT NULL, 
	tokens BIGINT NOT NULL, 
	synthetic_ratio FLOAT NOT NULL, 
	recipe JSON NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	error TEXT, 
	outcome VARCHAR(64), 
	params_non_embedding BIGINT, 
	params_total BIGINT, 
	steps BIGINT, 
	tokens_trained BIGINT, 
	train_flops FLOAT, 
	train_seconds FLOAT, 
	spent_seconds FLOAT, 
	lost_seconds FLOAT, 
	score_seconds FLOAT, 
	setup_seconds FLOAT, 
	hours_basis VARCHAR(16), 
	mfu FLOAT, 
	peak_memory_bytes BIGINT, 
	final_loss FLOAT, 
	bits_per_byte FLOAT, 
	device VARCHAR(120), 
	device_type VARCHAR(16), 
	started VARCHAR(32), 
	ended VARCHAR(32), 
	optimizer VARCHAR(16), 
	predicted_seconds FLOAT, 
	predicted_memory_bytes BIGINT, 
	PRIMARY KEY (run)
);
INSERT INTO "runs" VALUES('047cebc2ed49722d','0e6c0192d529ec30',0,1000,20000,0.5,'{"params": 1000, "tokens": 20000, "seed": 0, "train": {"lr": 0.1}, "data": {"shares": {"synthetic": "0.5", "web": "0.5"}}}','done',NULL,'fedeea1ac6c86ca463e0da3e28fa4f1cabe272f3022fd3db707e779bfa93a133',1010,5000,39,19968,123456789.0,7200.0,3600.0,36.0,360.0,NULL,'shared',NULL,1000000000,3.25,1.5,'a CPU','cpu','1970-01-01T00:00:00+00:00','1970-01-01T00:01:00+00:00',NULL,NULL,NULL);
INSERT INTO "runs" VALUES('9219c46f8bef3bdd','43b576afa0aceeaf',1,1000,20000,0.5,'{"params": 1000, "tokens": 20000, "seed": 1, "train": {"lr": 0.1}, "data": {"shares": {"synthetic": "0.5", "web": "0.5"}}}','pending',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE source_usage (
	run VARCHAR(16) NOT NULL, 
	source VARCHAR(60) NOT NULL, 
	sequences BIGINT NOT NULL, 
	tokens BIGINT NOT NULL, 
	bytes BIGINT NOT NULL, 
	unique_tokens BIGINT NOT NULL, 
	epochs FLOAT NOT NULL, 
	shards VARCHAR(16), 
	PRIMARY KEY (run, source), 
	FOREIGN KEY(run) REFERENCES runs (run)
);
INSERT INTO "source_usage" VALUES('047cebc2ed49722d','synthetic',78,9984,30000,5000,2.0,'s1');
INSERT INTO "source_usage" VALUES('047cebc2ed49722d','web',78,9984,31000,9984,1.0,'s2');
CREATE TABLE study_runs (
	study VARCHAR(60) NOT NULL, 
	run VARCHAR(16) NOT NULL, 
	cell VARCHAR(16) NOT NULL, 
	position INTEGER NOT NULL, 
	factors JSON NOT NULL, 
	active BOOLEAN NOT NULL, 
	mean_score FLOAT, 
	mean_score_version INTEGER, 
	told_score FLOAT, 
	data_costs JSON, 
	data_gpu_hours FLOAT, 
	PRIMARY KEY (study, run, cell), 
	FOREIGN KEY(study) REFERENCES study_specs (study), 
	FOREIGN KEY(run) REFERENCES runs (run)
);
INSERT INTO "study_runs" VALUES('quality','047cebc2ed49722d','60351ac13ba6709a',0,'{"params": 1000, "tokens": 20000, "synthetic_ratio": 0.5}',1,3.33333333333333314829e-01,1,NULL,'{"web": 0.0}',NULL);
INSERT INTO "study_runs" VALUES('quality','9219c46f8bef3bdd','60351ac13ba6709a',1,'{"params": 1000, "tokens": 20000, "synthetic_ratio": 0.5}',1,NULL,NULL,NULL,'{"web": 0.0}',NULL);
INSERT INTO "study_runs" VALUES('other','047cebc2ed49722d','60351ac13ba6709a',0,'{"params": 1000, "tokens": 20000, "synthetic_ratio": 0.5}',1,1.99999999999999983346e-01,1,NULL,'{"web": 0.0}',NULL);
CREATE TABLE study_specs (
	study VARCHAR(60) NOT NULL, 
	question TEXT NOT NULL, 
	file TEXT NOT NULL, 
	profile VARCHAR(60), 
	spec JSON NOT NULL, 
	benchmarks JSON NOT NULL, 
	saved VARCHAR(32) NOT NULL, 
	PRIMARY KEY (study)
);
INSERT INTO "study_specs" VALUES('quality','which?','quality.yaml',NULL,'{"name": "quality", "question": "which?", "grid": {"params": ["1M"]}, "cells": [], "where": null, "seeds": [0], "data": {"synthetic": null, "web": {"builtin": "web", "seed": 0, "noise": {"off_topic": 0.48, "boilerplate": 0.47, "adverts": 0.08, "comments": 0.14, "duplicates": 0.04, "typos": 0.001, "cut_off": 0.03, "mistakes": 0.05, "long_tail": 0.93}, "files": null, "text_field": "text", "messages_field": null, "chat_template": null, "where": null, "hygiene": null, "cost": null, "hf": null, "config": null, "split": "train", "revision": "main", "tokens": null, "dtype": "uint16", "end_of_text": null, "sources": {}}, "sources": {}, "shares": {}, "neutral": {"builtin": "neutral", "seed": 0, "noise": {"off_topic": 0.48, "boilerplate": 0.47, "adverts": 0.08, "comments": 0.14, "duplicates": 0.04, "typos": 0.001, "cut_off": 0.03, "mistakes": 0.05, "long_tail": 0.93}, "files": null, "text_field": "text", "messages_field": null, "chat_template": null, "where": null, "hygiene": null, "cost": null, "hf": null, "config": null, "split": "train", "revision": "main", "tokens": null, "dtype": "uint16", "end_of_text": null, "sources": {}}, "held_out": {}, "tokenizer": {"train_bpe": null, "train_on": [], "path": null, "hf": null, "revision": "main"}, "decontaminate": null, "seq_len": 128, "max_epochs": 4.0}, "model": {"family": "llama", "tie_word_embeddings": "auto", "preset": null, "from": null}, "train": {"optimizer": {"name": "adamw", "backend": "auto", "betas": [0.9, 0.95], "eps": 1e-08, "weight_decay": 0.1}, "lr": "auto", "batch_tokens": "auto", "schedule": "wsd", "warmup_steps": "auto", "decay": 0.2, "min_lr": 0.0, "clip": 1.0, "precision": "auto"}, "evaluate": {"benchmarks": [{"builtin": "all", "blimp": null, "name": null}], "fresh_twins": true}, "launch": {"with": "local", "slots": "auto", "device": "auto", "compile": "auto", "share": "trunk", "pack": "auto", "devices": 1, "activation_checkpointing": "auto", "checkpoint_every": 60.0, "gpu": null, "mfu": null}, "keep_models": "all", "profiles": {}}','["sums"]','2026-11-23T00:16:07+00:00');
INSERT INTO "study_specs" VALUES('other','which?','other.yaml',NULL,'{"name": "other", "question": "which?", "grid": {"params": ["1M"]}, "cells": [], "where": null, "seeds": [0], "data": {"synthetic": null, "web": {"builtin": "web", "seed": 0, "noise": {"off_topic": 0.48, "boilerplate": 0.47, "adverts": 0.08, "comments": 0.14, "duplicates": 0.04, "typos": 0.001, "cut_off": 0.03, "mistakes": 0.05, "long_tail": 0.93}, "files": null, "text_field": "text", "messages_field": null, "chat_template": null, "where": null, "hygiene": null, "cost": null, "hf": null, "config": null, "split": "train", "revision": "main", "tokens": null, "dtype": "uint16", "end_of_text": null, "sources": {}}, "sources": {}, "shares": {}, "neutral": {"builtin": "neutral", "seed": 0, "noise": {"off_topic": 0.48, "boilerplate": 0.47, "adverts": 0.08, "comments": 0.14, "duplicates": 0.04, "typos": 0.001, "cut_off": 0.03, "mistakes": 0.05, "long_tail": 0.93}, "files": null, "text_field": "text", "messages_field": null, "chat_template": null, "where": null, "hygiene": null, "cost": null, "hf": null, "config": null, "split": "train", "revision": "main", "tokens": null, "dtype": "uint16", "end_of_text": null, "sources": {}}, "held_out": {}, "tokenizer": {"train_bpe": null, "train_on": [], "path": null, "hf": null, "revision": "main"}, "decontaminate": null, "seq_len": 128, "max_epochs": 4.0}, "model": {"family": "llama", "tie_word_embeddings": "auto", "preset": null, "from": null}, "train": {"optimizer": {"name": "adamw", "backend": "auto", "betas": [0.9, 0.95], "eps": 1e-08, "weight_decay": 0.1}, "lr": "auto", "batch_tokens": "auto", "schedule": "wsd", "warmup_steps": "auto", "decay": 0.2, "min_lr": 0.0, "clip": 1.0, "precision": "auto"}, "evaluate": {"benchmarks": [{"builtin": "all", "blimp": null, "name": null}], "fresh_twins": true}, "launch": {"with": "local", "slots": "auto", "device": "auto", "compile": "auto", "share": "trunk", "pack": "auto", "devices": 1, "activation_checkpointing": "auto", "checkpoint_every": 60.0, "gpu": null, "mfu": null}, "keep_models": "all", "profiles": {}}','[]','2026-11-23T00:16:07+00:00');
CREATE TABLE text_losses (
	run VARCHAR(16) NOT NULL, 
	text VARCHAR(60) NOT NULL, 
	bits_per_byte FLOAT NOT NULL, 
	tokens BIGINT NOT NULL, 
	bytes BIGINT NOT NULL, 
	is_primary BOOLEAN NOT NULL, 
	PRIMARY KEY (run, text), 
	FOREIGN KEY(run) REFERENCES runs (run)
);
INSERT INTO "text_losses" VALUES('047cebc2ed49722d','neutral',1.5,100,300,1);
INSERT INTO "text_losses" VALUES('047cebc2ed49722d','web',1.7,100,300,0);
CREATE INDEX ix_runs_family ON runs (family);
CREATE INDEX ix_attempts_run ON attempts (run);
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
CREATE VIEW results_quality AS SELECT results.study, results.run, results.family, results.params, results.params_non_embedding, results.params_total, results.tokens, results.tokens_trained, results.unique_tokens, results.bytes_trained, results.max_epochs, results.synthetic_ratio, results.seed, results.factors, results.train_flops, results.gpu_hours, results.device_hours, results.spent_device_hours, results.score_hours, results.lost_hours, results.data_gpu_hours, results.predicted_device_hours, results.hours_basis, results.device, results.mfu, results.peak_memory_bytes, results.predicted_memory_bytes, results.optimizer, results.final_loss, results.bits_per_byte, results.mean_score, results.mean_score_version, results.status, results.error, results.started, results.ended, results.position, (SELECT sum(benchmark_scores.score * benchmark_scores.n) / (sum(benchmark_scores.n) + 0.0) AS anon_1 
FROM benchmark_scores 
WHERE benchmark_scores.run = results.run AND benchmark_scores.benchmark = 'kinds' AND benchmark_scores.fresh = 0) AS kinds, (SELECT sum(benchmark_scores.score * benchmark_scores.n) / (sum(benchmark_scores.n) + 0.0) AS anon_2 
FROM benchmark_scores 
WHERE benchmark_scores.run = results.run AND benchmark_scores.benchmark = 'sums' AND benchmark_scores.fresh = 0) AS sums, (SELECT sum(benchmark_scores.score * benchmark_scores.n) / (sum(benchmark_scores.n) + 0.0) AS anon_3 
FROM benchmark_scores 
WHERE benchmark_scores.run = results.run AND benchmark_scores.benchmark = 'sums' AND benchmark_scores.fresh = 1) AS sums_fresh 
FROM results 
WHERE results.study = 'quality';
CREATE VIEW results_other AS SELECT results.study, results.run, results.family, results.params, results.params_non_embedding, results.params_total, results.tokens, results.tokens_trained, results.unique_tokens, results.bytes_trained, results.max_epochs, results.synthetic_ratio, results.seed, results.factors, results.train_flops, results.gpu_hours, results.device_hours, results.spent_device_hours, results.score_hours, results.lost_hours, results.data_gpu_hours, results.predicted_device_hours, results.hours_basis, results.device, results.mfu, results.peak_memory_bytes, results.predicted_memory_bytes, results.optimizer, results.final_loss, results.bits_per_byte, results.mean_score, results.mean_score_version, results.status, results.error, results.started, results.ended, results.position, (SELECT sum(benchmark_scores.score * benchmark_scores.n) / (sum(benchmark_scores.n) + 0.0) AS anon_1 
FROM benchmark_scores 
WHERE benchmark_scores.run = results.run AND benchmark_scores.benchmark = 'kinds' AND benchmark_scores.fresh = 0) AS kinds, (SELECT sum(benchmark_scores.score * benchmark_scores.n) / (sum(benchmark_scores.n) + 0.0) AS anon_2 
FROM benchmark_scores 
WHERE benchmark_scores.run = results.run AND benchmark_scores.benchmark = 'sums' AND benchmark_scores.fresh = 0) AS sums, (SELECT sum(benchmark_scores.score * benchmark_scores.n) / (sum(benchmark_scores.n) + 0.0) AS anon_3 
FROM benchmark_scores 
WHERE benchmark_scores.run = results.run AND benchmark_scores.benchmark = 'sums' AND benchmark_scores.fresh = 1) AS sums_fresh 
FROM results 
WHERE results.study = 'other';
COMMIT;
