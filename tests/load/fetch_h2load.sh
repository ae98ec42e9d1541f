#!/usr/bin/env bash
# Prints where h2load is: the system's own, or Debian's, fetched once into H2LOAD_CACHE (no root).
set -euo pipefail

if command -v h2load; then exit; fi

cache=${H2LOAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tamis/h2load}
if [[ ! -x $cache/h2load ]]; then
    new=$(mktemp -d)
    trap 'rm -rf "$new"' EXIT
    (
        cd "$new"
        apt-get -q download nghttp2-client libnghttp2-14 libev4 libjemalloc2 libc-ares2 >&2
        for package in *.deb; do dpkg -x "$package" .; done
    )
    mkdir -p "$cache/lib"
    find "$new/usr/lib" -name '*.so.*' -exec cp -P {} "$cache/lib" \;
    cp "$new/usr/bin/h2load" "$cache/h2load.bin"
    cat > "$cache/h2load" <<WRAPPER
#!/bin/sh
LD_LIBRARY_PATH=$cache/lib exec $cache/h2load.bin "\$@"
WRAPPER
    chmod +x "$cache/h2load"
fi
echo "$cache/h2load"
