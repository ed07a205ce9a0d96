BEGIN TRANSACTION;
CREATE TABLE ablate_migrations (
	number INTEGER NOT NULL, 
	name VARCHAR(80) NOT NULL, 
	applied VARCHAR(32) NOT NULL, 
	PRIMARY KEY (number)
);
INSERT INTO "ablate_migrations" VALUES(1,'m001_initial','2026-11-22T20:19:10+00:00');
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
	PRIMARY KEY (id), 
	FOREIGN KEY(run) REFERENCES runs (run)
);
INSERT INTO "attempts" VALUES(1,'905176c971fe99b3','job1','done',NULL,'local','here',1,'a CPU','cpu',1,0,'{"torch": "2"}','1970-01-01T00:00:00+00:00','1970-01-01T00:01:00+00:00');
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
	PRIMARY KEY (id), 
	UNIQUE (run, benchmark, register, fresh), 
	FOREIGN KEY(run) REFERENCES runs (run)
);
INSERT INTO "benchmark_scores" VALUES(1,'905176c971fe99b3','sums','textbook',0,'arithmetic','acc',0.5,0.1,0.4,0.25,4,-1.5,NULL,'dddddddddddddddd');
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
INSERT INTO "curves" VALUES('905176c971fe99b3',1,512,6.97435897435897445006e+00,0.1,1.0,9.0,0.1);
INSERT INTO "curves" VALUES('905176c971fe99b3',2,1024,6.94871794871794890013e+00,0.1,1.0,9.0,0.2);
INSERT INTO "curves" VALUES('905176c971fe99b3',3,1536,6.9230769230769233502e+00,0.1,1.0,9.0,3.00000000000000044408e-01);
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
	PRIMARY KEY (run)
);
INSERT INTO "runs" VALUES('905176c971fe99b3','6a591e15891958cf',0,1000,20000,0.5,'{"params": 1000, "tokens": 20000, "seed": 0, "train": {"lr": 0.1, "optimizer": {"name": "adamw"}}, "data": {"shares": {"synthetic": "0.5", "web": "0.5"}}}','done',NULL,'cd74fee7d88540a69112a9a55ec39b9e35f5cfab990055f85ac303e0e4760aac',1010,5000,39,19968,123456789.0,7200.0,3600.0,36.0,360.0,NULL,'shared',NULL,1000000000,3.25,1.5,'a CPU','cpu','1970-01-01T00:00:00+00:00','1970-01-01T00:01:00+00:00');
INSERT INTO "runs" VALUES('9219c46f8bef3bdd','43b576afa0aceeaf',1,1000,20000,0.5,'{"params": 1000, "tokens": 20000, "seed": 1, "train": {"lr": 0.1}, "data": {"shares": {"synthetic": "0.5", "web": "0.5"}}}','pending',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE source_usage (
	run VARCHAR(16) NOT NULL, 
	source VARCHAR(60) NOT NULL, 
	sequences BIGINT NOT NULL, 
	tokens BIGINT NOT NULL, 
	bytes BIGINT NOT NULL, 
	unique_tokens BIGINT NOT NULL, 
	epochs FLOAT NOT NULL, 
	PRIMARY KEY (run, source), 
	FOREIGN KEY(run) REFERENCES runs (run)
);
INSERT INTO "source_usage" VALUES('905176c971fe99b3','synthetic',78,9984,30000,5000,2.0);
INSERT INTO "source_usage" VALUES('905176c971fe99b3','web',78,9984,31000,9984,1.0);
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
	PRIMARY KEY (study, run, cell), 
	FOREIGN KEY(study) REFERENCES study_specs (study), 
	FOREIGN KEY(run) REFERENCES runs (run)
);
INSERT INTO "study_runs" VALUES('quality','905176c971fe99b3','fdd1304d6a365c20',0,'{"params": 1000, "tokens": 20000, "synthetic_ratio": 0.5, "train.lr": 0.1}',1,3.33333333333333314829e-01,1,NULL);
INSERT INTO "study_runs" VALUES('quality','9219c46f8bef3bdd','60351ac13ba6709a',1,'{"params": 1000, "tokens": 20000, "synthetic_ratio": 0.5}',1,NULL,NULL,NULL);
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
INSERT INTO "study_specs" VALUES('quality','which?','quality.yaml',NULL,'{"name": "quality", "question": "which?", "grid": {"params": ["1M"]}, "cells": [], "where": null, "seeds": [0], "data": {"synthetic": null, "web": {"builtin": "web", "seed": 0, "noise": {"off_topic": 0.48, "boilerplate": 0.47, "adverts": 0.08, "comments": 0.14, "duplicates": 0.04, "typos": 0.001, "cut_off": 0.03, "mistakes": 0.05, "long_tail": 0.93}, "files": null, "text_field": "text"}, "neutral": {"builtin": "neutral", "seed": 0, "noise": {"off_topic": 0.48, "boilerplate": 0.47, "adverts": 0.08, "comments": 0.14, "duplicates": 0.04, "typos": 0.001, "cut_off": 0.03, "mistakes": 0.05, "long_tail": 0.93}, "files": null, "text_field": "text"}, "held_out": {}, "tokenizer": {"train_bpe": 1024, "path": null}, "seq_len": 128, "max_epochs": 4.0}, "model": {"family": "llama", "tie_word_embeddings": true}, "train": {"optimizer": {"name": "adamw", "betas": [0.9, 0.95], "eps": 1e-08, "weight_decay": 0.1}, "lr": "auto", "batch_tokens": "auto", "schedule": "wsd", "warmup_steps": "auto", "decay": 0.2, "clip": 1.0, "precision": "auto"}, "evaluate": {"benchmarks": [{"builtin": "all", "blimp": null, "name": null}], "fresh_twins": true}, "launch": {"with": "local", "slots": "auto", "device": "auto", "compile": "auto", "share": "trunk", "checkpoint_every": 60.0}, "keep_models": "all", "profiles": {}}','[]','2026-11-22T20:19:10+00:00');
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
INSERT INTO "text_losses" VALUES('905176c971fe99b3','neutral',1.5,100,300,1);
INSERT INTO "text_losses" VALUES('905176c971fe99b3','web',1.7,100,300,0);
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
    r.hours_basis,
    r.device,
    r.mfu,
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
    CASE WHEN b.score - 1.96 * b.stderr <= b.chance THEN 1 ELSE 0 END AS at_chance,
    b.id AS score_id
FROM (SELECT DISTINCT study, run FROM study_runs WHERE active) sr
JOIN benchmark_scores b ON b.run = sr.run;
CREATE VIEW results_quality AS SELECT results.study, results.run, results.family, results.params, results.params_non_embedding, results.params_total, results.tokens, results.tokens_trained, results.unique_tokens, results.bytes_trained, results.max_epochs, results.synthetic_ratio, results.seed, results.factors, results.train_flops, results.gpu_hours, results.device_hours, results.spent_device_hours, results.score_hours, results.lost_hours, results.hours_basis, results.device, results.mfu, results.final_loss, results.bits_per_byte, results.mean_score, results.mean_score_version, results.status, results.error, results.started, results.ended, results.position, CAST(JSON_EXTRACT(results.factors, '$."train.lr"') AS FLOAT) AS "train.lr", (SELECT sum(benchmark_scores.score * benchmark_scores.n) / (sum(benchmark_scores.n) + 0.0) AS anon_1 
FROM benchmark_scores 
WHERE benchmark_scores.run = results.run AND benchmark_scores.benchmark = 'sums' AND benchmark_scores.fresh = 0) AS sums 
FROM results 
WHERE results.study = 'quality';
COMMIT;
