"""Training of small networks of our own; torch may be imported here."""
