"""Tokenising files against `datasets.map`: the same documents, tokenizer and processes, in turn, in one run.

    python -m benchmarks.data ['GLOB OF FILES WITH A FIELD text']

Without files the text is `builtin:web`, which has words for a vocabulary of 2,048 only. Both sides read the same .jsonl file and leave
ids on the disk: datasets an Arrow table (batched, its caches off), ablate a stream of <|endoftext|>-separated ids. `tokenise` is reading
and encoding alone; `prepare` is all that `ablate run` does: it also normalises, drops duplicates, finds near-duplicates and holds
documents out, which map does not. Medians of documents a second; the last lines are ratios. Needs the extra `hf`.
Files that hold less than 60 MB are taken several times over, which spares both sides the words that large corpora go on bringing: with
many files of your own the ratio is lower.
"""

import sys

if __name__ == "__main__":
    # Not at the head: every process of ablate's pool imports what the file at the top imports, and that of `ablate` is as light.
    from benchmarks.tokenising import main

    main(sys.argv[1] if len(sys.argv) > 1 else None)
