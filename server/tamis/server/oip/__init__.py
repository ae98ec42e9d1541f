"""The Open Inference Protocol v2, with Triton's additions, so that their clients work unchanged.

Every encoder is a model, every pipeline's reranker is one (`<pipeline>.rerank`), and every pipeline
is a decoupled one, which answers a request once a stage.
"""
