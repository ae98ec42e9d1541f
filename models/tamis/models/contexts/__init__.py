"""Contexts that can be kept, sent and handed to a language model.

    kinds         what a context is made of, and where it comes from
    key_values    a compressed key-value cache, and how it moves to other positions
    precision     numbers in fewer bits
    frames        tensors and a description as checksummed bytes
    artefact      a context as such bytes, and back
    writer        what reads a text, whatever runs it
    layouts       a key-value cache as LMCache and vLLM lay it out

All of it runs on numpy; what prefills and continues is in `runtimes.hf.contexts`.
"""
