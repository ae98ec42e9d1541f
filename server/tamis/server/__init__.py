"""The gRPC server: the wire, the queue, the caches and the pipeline. It computes nothing itself."""
