"""Training of tamis's own small networks: with `networks` and `export`, where torch may be imported."""
