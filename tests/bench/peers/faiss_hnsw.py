"""A graph of faiss beside `bench_dense`: one query at a time on one thread, by inner product.

It says how long the building took, then answers each line, an `efSearch`, with one: how many
seconds each query took, and the numbers of the 100 best documents of each.
"""

import json
import sys
import time

import faiss
import numpy as np

documents, queries = (np.load(path, mmap_mode="r") for path in sys.argv[1:3])
index = faiss.IndexHNSWFlat(documents.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
index.hnsw.efConstruction = 100
started = time.perf_counter()
index.add(np.ascontiguousarray(documents))
print(json.dumps(time.perf_counter() - started), flush=True)
faiss.omp_set_num_threads(1)
for line in sys.stdin:
    index.hnsw.efSearch = int(line)
    seconds, found = [], []
    for query in np.asarray(queries):
        started = time.perf_counter()
        _, best = index.search(query[None], 100)
        seconds.append(time.perf_counter() - started)
        found.append(best[0].tolist())
    print(json.dumps([seconds, found]), flush=True)
