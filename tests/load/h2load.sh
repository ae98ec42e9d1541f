#!/usr/bin/env bash
# h2load, as it comes, against a running server: Embed, ModelInfer and Search, one body again and
# again, by 1, 8 and 32 callers.
#
#   tests/load/h2load.sh [HOST:PORT [COLLECTION]]
#
# h2load does not read gRPC's status: each method is tried once before it is timed. SECONDS_EACH
# sets how long. With Search the query's embedding is remembered, so what is timed is the rest.
set -euo pipefail

target=${1:-localhost:50051}
collection=${2:-demo}
seconds=${SECONDS_EACH:-5}
python=${PYTHON:-.venv/bin/python}
here=$(dirname "$0")
h2load=$("$here/fetch_h2load.sh")
body=$(mktemp)
trap 'rm -f "$body"' EXIT

measure() {
    local method=$1 path=$2 callers
    "$python" "$here/open_loop.py" --target "$target" --method "$method" --rate 5 --duration 1 \
        --deadline 10 --collection "$collection" > /dev/null || { echo "$method: fails"; exit 1; }
    "$python" "$here/grpc_body.py" "$method" --collection "$collection" > "$body"
    for callers in 1 8 32; do
        printf '\n== %s, %s callers\n' "$method" "$callers"
        "$h2load" -c "$callers" -m 1 -D "$seconds" --warm-up-time=1s -d "$body" \
            -H 'content-type: application/grpc' -H 'te: trailers' "http://$target$path" |
            grep -E '^(finished|requests|traffic|time for request)'
    done
}

measure embed /tamis.v1.EmbeddingService/Embed
measure oip /inference.GRPCInferenceService/ModelInfer
measure search /tamis.v1.RetrievalService/Search
