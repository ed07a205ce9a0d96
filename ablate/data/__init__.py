"""From a named source to the batch of a step: documents, tokenizer, token shards, exact mixture."""
