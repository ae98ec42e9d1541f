"""Bulk indexing: a corpus in shards, workers that encode and send them, and a ledger to resume by.

A corpus is cut into shards of a stable order. Each worker takes one shard at a time: it reads the
documents, passes over those that the ledger has and the server still holds, encodes the others and
upserts them. What the server has acknowledged goes to the ledger. Ids make an upsert idempotent, so
the shard of a worker that died is simply done again by another: nothing is lost, nothing is twice.
"""
