"""Runs language models on torch: what cannot be exported, or need not be.

The only place besides export, networks and train that knows torch and transformers; imported only
when a setting asks for it.
"""
