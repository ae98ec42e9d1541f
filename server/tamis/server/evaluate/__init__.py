"""`tamis evaluate`: how well a running server finds what is known to be relevant.

What is evaluated is what is served: documents go in and queries are asked through the client.
"""
