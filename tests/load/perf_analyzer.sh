#!/usr/bin/env bash
# Triton's perf_analyzer, as it comes, against a running server: unary, async, streaming, Poisson.
# Exits 0 if every run does.
#
#   tests/load/perf_analyzer.sh [HOST:PORT [COLLECTION]]
#
# The server has the encoder `minilm` and the pipeline `default`; the collection has documents.
# REQUESTS and RATE (a second) set the load. The binary and the two libraries that it wants are
# kept in PERF_ANALYZER_CACHE; only the first run fetches them. x86-64; Debian or Ubuntu for libb64.
set -euo pipefail

target=${1:-localhost:50051}
collection=${2:-demo}
requests=${REQUESTS:-100}
rate=${RATE:-5}
python=$(command -v "${PYTHON:-python3}")
[[ $python == /* ]] || python=$PWD/$python
cache=${PERF_ANALYZER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tamis/perf_analyzer}

# The last wheel of tritonclient that brings the binary itself, and CUDA's runtime, which it is
# linked with and does not use here.
fetch() {
    local new
    new=$(mktemp -d)
    (
        cd "$new"
        "$python" -m pip download -q --no-deps tritonclient==2.50.0 nvidia-cuda-runtime-cu12==12.9.79
        "$python" -m zipfile -e tritonclient-*.whl .
        "$python" -m zipfile -e nvidia_cuda_runtime_cu12-*.whl .
        apt-get -q download libb64-0d
        dpkg -x libb64-0d_*.deb .
    )
    mkdir -p "$cache"
    find "$new" \( -name libcudart.so.12 -o -name 'libb64.so.0d*' \) -exec cp -P {} "$cache" \;
    find "$new" -name perf_analyzer -exec install {} "$cache" \;
    rm -r "$new"
}

[[ -x $cache/perf_analyzer ]] || fetch

texts=$(mktemp) queries=$(mktemp)
trap 'rm -f "$texts" "$queries"' EXIT
cat > "$texts" <<JSON
{"data": [{"TEXT": ["a red circle"]}, {"TEXT": ["a bird on a branch, seen from below"]}]}
JSON
cat > "$queries" <<JSON
{"data": [
  {"QUERY_TEXT": ["a red circle"], "COLLECTION": ["$collection"], "K": [3]},
  {"QUERY_TEXT": ["a bird"], "COLLECTION": ["$collection"], "K": [3]}
]}
JSON

measure() {
    printf '\n== %s\n' "$1"
    shift
    LD_LIBRARY_PATH=$cache "$cache/perf_analyzer" -u "$target" -i grpc --percentile 99 "$@"
}

encode=(-m minilm --input-data "$texts" --request-count "$requests")
search=(-m default --input-data "$queries" --request-count "$requests" --streaming)
poisson=(--request-rate-range "$rate" --request-distribution poisson)

measure 'encoder, unary' "${encode[@]}" --concurrency-range 1
measure 'encoder, unary, batches of 8' "${encode[@]}" -b 8
measure 'encoder, async' "${encode[@]}" -a --concurrency-range 4
measure 'encoder, streaming' "${encode[@]}" --streaming --concurrency-range 4
measure 'encoder, Poisson' "${encode[@]}" -a "${poisson[@]}"
# Time windows, between which it reads ModelStatistics; all spreads are stable enough here.
measure 'encoder, windows' -m minilm --input-data "$texts" -p 1500 -s 1000 -r 3
measure 'reranker, unary' -m default.rerank --shape PASSAGE:8 --string-data 'a red circle' \
    --request-count "$requests"
measure 'pipeline, streaming' "${search[@]}" --concurrency-range 1
measure 'pipeline, streaming, Poisson' "${search[@]}" "${poisson[@]}"
